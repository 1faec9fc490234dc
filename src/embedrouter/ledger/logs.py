"""Generations as their owners look through them: page by page, the newest first, and one in full."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, and_, literal_column, or_, select, union_all

from embedrouter.ledger import generations as rows
from embedrouter.ledger.attempts import Attempt
from embedrouter.ledger.generations import Generation
from embedrouter.store.tables import api_keys, apps, generations

MOST: Final = 200  # of one page
_MANY: Final = 100  # keys: of as many some row is always near
_ATTEMPTS: Final = msgspec.json.Decoder(list[dict[str, Any]])
_OK: Final[Any] = literal_column("200")  # as it stands in the index of those that failed
_NONE: Final[Any] = literal_column("0")


class Reader(NamedTuple):
    """Who looks. key_ids: whose generations he may see; None: all."""

    key_ids: tuple[int, ...] | None


class Cursor(NamedTuple):
    """The last row of the page before."""

    created_at: int  # microseconds
    id: str


class LogFilter(NamedTuple):
    """What to show. None: any."""

    key_id: int | None = None
    model_permaslug: str | None = None
    app_id: int | None = None
    status: int | None = None  # HTTP
    failed: bool | None = None
    cached: bool | None = None
    since: int | None = None  # microseconds
    until: int | None = None  # microseconds; before it

    @property
    def fails(self) -> bool:
        """Whether only what failed is wanted."""
        return self.failed is True or self.status not in (None, 200)


class LogRow(NamedTuple):
    """A generation, as a list shows it."""

    id: str
    created_at: int  # microseconds
    key_id: int
    key_name: str | None
    app_id: int  # 0: none
    app_name: str | None
    model: str
    model_permaslug: str
    endpoint: str  # tag
    provider_name: str
    status: int
    error_type: str | None
    cancelled: bool
    cached: bool
    inputs: int
    prompt_tokens: int
    cost_pico: int
    is_byok: bool
    latency_us: int
    generation_us: int


class LogPage(NamedTuple):
    """following: where the next page begins; None: this is the last."""

    rows: tuple[LogRow, ...]
    following: Cursor | None


class LogDetail(NamedTuple):
    """A generation in full."""

    generation: Generation
    key_name: str | None
    app_name: str | None
    app_url: str | None
    attempts: tuple[Attempt, ...]


def reader(connection: Connection, owner_id: str | None) -> Reader:
    """Who may see what a user's keys did, also those that were deleted. None: an administrator, who sees all."""
    if owner_id is None:
        return Reader(None)
    ids = connection.execute(select(api_keys.c.id).where(api_keys.c.owner_id == owner_id).order_by(api_keys.c.id))
    return Reader(tuple(ids.scalars()))


def log_page(
    connection: Connection, reader: Reader, wanted: LogFilter, after: Cursor | None = None, limit: int = 50
) -> LogPage:
    """At most `limit` generations, the newest first, after those that were shown."""
    limit = max(1, min(limit, MOST))
    keys = _keys(reader, wanted.key_id)
    if keys is not None and not keys:
        return LogPage((), None)
    page = _found(wanted, keys, after, limit + 1).subquery()
    query = (
        select(page, api_keys.c.name.label("key_name"), apps.c.title, apps.c.url)
        .outerjoin(api_keys, api_keys.c.id == page.c.key_id)
        .outerjoin(apps, apps.c.id == page.c.app_id)
        .order_by(page.c.created_at.desc(), page.c.id.desc())
        .limit(limit + 1)
    )
    shown = [_row(row) for row in connection.execute(query)]
    last = shown[limit - 1] if len(shown) > limit else None
    return LogPage(tuple(shown[:limit]), None if last is None else Cursor(last.created_at, last.id))


def log_detail(connection: Connection, reader: Reader, generation_id: str) -> LogDetail | None:
    """None: there is no such generation, or the reader may not see it."""
    row = rows.get(connection, generation_id)
    if row is None or (reader.key_ids is not None and row["key_id"] not in reader.key_ids):
        return None
    key = connection.execute(select(api_keys.c.name).where(api_keys.c.id == row["key_id"])).scalar_one_or_none()
    app = connection.execute(select(apps.c.title, apps.c.url).where(apps.c.id == row["app_id"])).one_or_none()
    return LogDetail(
        Generation(**row),
        key,
        None if app is None else app.title or app.url,
        None if app is None else app.url,
        tuple(Attempt(**attempt) for attempt in _ATTEMPTS.decode(row["attempts"])),
    )


def _keys(reader: Reader, key_id: int | None) -> Sequence[int] | None:
    """None: any."""
    if key_id is None:
        return reader.key_ids
    return [key_id] if reader.key_ids is None or key_id in reader.key_ids else []


def _found(wanted: LogFilter, keys: Sequence[int] | None, after: Cursor | None, limit: int) -> Select[Any]:
    table = generations.c
    if keys is None:
        return _newest(wanted, (), after, limit)
    if wanted.fails or wanted.cached or len(keys) > _MANY:
        # `+ 0` keeps from the index of keys. What failed or was cached has one of its own, which knows keys as well.
        return _newest(wanted, ((table.key_id + _NONE).in_(keys),), after, limit)
    # Each key by itself: its index gives its newest rows, where one query for several keys would sort all of theirs.
    parts = [_newest(wanted, (table.key_id == key,), after, limit) for key in keys]
    return parts[0] if len(parts) == 1 else select(union_all(*(select(part.subquery()) for part in parts)).subquery())


def _newest(wanted: LogFilter, of_keys: Sequence[Any], after: Cursor | None, limit: int) -> Select[Any]:
    table = generations.c
    query = select(*(table[name] for name in _COLUMNS)).where(*_conditions(wanted), *of_keys)
    if after is not None:
        query = query.where(
            table.created_at <= after.created_at,
            or_(table.created_at < after.created_at, and_(table.created_at == after.created_at, table.id < after.id)),
        )
    return query.order_by(table.created_at.desc(), table.id.desc()).limit(limit)


def _conditions(wanted: LogFilter) -> list[Any]:
    table, found = generations.c, []
    if wanted.model_permaslug is not None:
        found.append(table.model_permaslug == wanted.model_permaslug)
    if wanted.app_id is not None:
        found.append(table.app_id == wanted.app_id)
        if wanted.app_id:
            found.append(table.app_id != _NONE)
    if wanted.status is not None:
        found.append(table.status == wanted.status)
    if wanted.fails:
        found.append(table.status != _OK)
    if wanted.failed is False:
        found.append(table.status == 200)
    if wanted.cached is not None:
        found.append(table.cache_source_id.is_not(None) if wanted.cached else table.cache_source_id.is_(None))
    if wanted.since is not None:
        found.append(table.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(table.created_at < wanted.until)
    return found


_COLUMNS: Final = (
    "id", "created_at", "key_id", "app_id", "model", "model_permaslug", "endpoint", "provider_name", "status",
    "error_type", "cancelled", "inputs", "prompt_tokens", "cost_pico", "is_byok", "latency_us", "generation_us",
    "cache_source_id",
)  # fmt: skip


def _row(row: Any) -> LogRow:
    named = {name: getattr(row, name) for name in _COLUMNS if name != "cache_source_id"}
    return LogRow(**named, key_name=row.key_name, app_name=row.title or row.url, cached=row.cache_source_id is not None)
