"""What administrators state in the catalog: rows, changed together or not at all.

Every change grows a mark, by which all processes find that there is one. What the rows mean, and whether they hold
together, the caller judges: inside the transaction, so that two changes cannot break together what neither breaks
alone.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, delete, func, select

from embedrouter.errors import NotFoundError
from embedrouter.store.session import Batch
from embedrouter.store.tables import catalog_entries, marks

REVISION: Final = "catalog_revision"  # in `marks`
# Built once: each process asks twice a second.
_REVISION: Final = select(func.coalesce(func.max(marks.c.value), 0)).where(marks.c.name == REVISION)


class Row(NamedTuple):
    """A row of `catalog_entries`."""

    kind: str
    slug: str
    body: str  # JSON
    updated_at: int  # microseconds
    updated_by: str


class Change(NamedTuple):
    """What to state of one entry. body: None takes the row away."""

    kind: str
    slug: str
    body: str | None


class Edit(NamedTuple):
    """Changes that belong together."""

    changes: tuple[Change, ...]
    at: int  # microseconds
    by: str
    judge: Callable[[Sequence[Row], Sequence[Row]], None]  # of the rows before and after; raises what is refused


class Snapshot(NamedTuple):
    """All rows, and the revision they are of."""

    revision: int
    rows: tuple[Row, ...]


def edit(batch: Batch, edits: Sequence[Edit]) -> Sequence[Snapshot | Exception]:
    """The writer's handler: makes changes that their judge lets pass. NotFoundError: no such row to take away."""
    return [_edit(batch, one) for one in edits]


def snapshot(connection: Connection) -> Snapshot:
    """What the database states."""
    table = catalog_entries.c
    query = select(table.kind, table.slug, table.body, table.updated_at, table.updated_by)
    rows = connection.execute(query.order_by(table.kind, table.slug))
    return Snapshot(revision(connection), tuple(Row(*row) for row in rows))


def revision(connection: Connection) -> int:
    """Grows with every change."""
    return int(connection.execute(_REVISION).scalar_one())


def _edit(batch: Batch, wanted: Edit) -> Snapshot | Exception:
    before = snapshot(batch.connection)
    rows = {(row.kind, row.slug): row for row in before.rows}
    for change in wanted.changes:
        name = (change.kind, change.slug)
        if change.body is not None:
            rows[name] = Row(*name, change.body, wanted.at, wanted.by)
        elif name in rows:
            del rows[name]
        elif not batch.again:  # else the first try took it away
            return NotFoundError(f'the database states no {change.kind} "{change.slug}"')
    after = tuple(rows[name] for name in sorted(rows))
    try:
        wanted.judge(before.rows, after)
    except Exception as refusal:
        return refusal
    for change in wanted.changes:
        _write(batch, change, wanted)
    grown = batch.database.insert(marks).values(name=REVISION, value=1)
    grown = grown.on_conflict_do_update(index_elements=[marks.c.name], set_={"value": marks.c.value + 1})
    return Snapshot(int(batch.connection.execute(grown.returning(marks.c.value)).scalar_one()), after)


def _write(batch: Batch, change: Change, wanted: Edit) -> None:
    table = catalog_entries
    if change.body is None:
        which = and_(table.c.kind == change.kind, table.c.slug == change.slug)
        batch.connection.execute(delete(table).where(which))
        return
    values = {"body": change.body, "updated_at": wanted.at, "updated_by": wanted.by}
    added = batch.database.insert(table).values(kind=change.kind, slug=change.slug, **values)
    batch.connection.execute(added.on_conflict_do_update(index_elements=[table.c.kind, table.c.slug], set_=values))
