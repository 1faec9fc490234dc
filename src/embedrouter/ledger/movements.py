"""The ledger as its readers look through it: page by page, the newest first, with the names of keys."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from embedrouter.ledger.logs import Cursor, Reader
from embedrouter.store.tables import api_keys, ledger


class Movement(NamedTuple):
    """An entry of the ledger."""

    id: str
    kind: str  # top_up, adjustment, usage
    amount_pico: int  # what it adds to the balance
    created_at: int  # microseconds
    actor: str
    reason: str
    key_hash: str | None  # of usage; None if there is no such key any more
    key_name: str | None


class Movements(NamedTuple):
    """A page. following: where the next one begins; None: this is the last."""

    rows: tuple[Movement, ...]
    following: Cursor | None


def movements(connection: Connection, reader: Reader, after: Cursor | None = None, limit: int = 50) -> Movements:
    """At most `limit` entries after those that were shown. Who may not see all sees the usage of his keys."""
    query = (
        select(*(ledger.c[name] for name in Movement._fields[:6]), api_keys.c.hash, api_keys.c.name)
        .outerjoin(api_keys, and_(api_keys.c.id == ledger.c.key_id, api_keys.c.deleted_at.is_(None)))
        .where(*_of(reader))
        .order_by(ledger.c.created_at.desc(), ledger.c.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(
            ledger.c.created_at <= after.created_at,
            or_(
                ledger.c.created_at < after.created_at,
                and_(ledger.c.created_at == after.created_at, ledger.c.id < after.id),
            ),
        )
    found = [Movement._make(row) for row in connection.execute(query)]
    last = found[limit - 1] if len(found) > limit else None
    return Movements(tuple(found[:limit]), None if last is None else Cursor(last.created_at, last.id))


def used_pico(connection: Connection, reader: Reader) -> int:
    """All that a reader's keys have ever spent, as the ledger has it."""
    query = select(func.coalesce(func.sum(ledger.c.amount_pico), 0)).where(ledger.c.kind == "usage", *_of(reader))
    return -int(connection.execute(query).scalar_one())


def _of(reader: Reader) -> list[Any]:
    return [] if reader.key_ids is None else [ledger.c.kind == "usage", ledger.c.key_id.in_(reader.key_ids)]
