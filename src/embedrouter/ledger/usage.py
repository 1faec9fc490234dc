"""Activity: what was used by day, model and endpoint, from the sums by quarter of an hour."""

from collections.abc import Sequence
from datetime import UTC, date, timedelta, tzinfo
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.ledger.zones import day_of, midnight, step_of, today
from embedrouter.store.tables import api_keys, usage, users, workspaces

DAYS: Final = 30  # completed ones, that activity tells of


class Wanted(NamedTuple):
    """Whose activity of which days."""

    first: date
    last: date
    zone: tzinfo = UTC
    key_hash: str | None = None
    user_id: str | None = None
    workspace_id: str | None = None
    by_workspace: bool = False


class Activity(NamedTuple):
    """One day of one model at one endpoint."""

    day: date
    model: str
    model_permaslug: str
    endpoint: str  # tag
    provider_name: str
    workspace_id: str | None  # None if not asked for
    cost_pico: int
    upstream_pico: int  # list price of what own credentials paid for
    requests: int
    prompt_tokens: int


def window(at: int, of: tzinfo, day: date | None = None) -> tuple[date, date]:
    """The first and last of the completed days at a time in microseconds, or the one day of them that is asked for.

    Raises InvalidRequestError.
    """
    last = today(at, of) - timedelta(days=1)
    first = last - timedelta(days=DAYS - 1)
    if day is None:
        return first, last
    if not first <= day <= last:
        raise InvalidRequestError(
            f"date: activity is told of the last {DAYS} completed days, {first} to {last}", metadata={"field": "date"}
        )
    return day, day


def activity(connection: Connection, wanted: Wanted) -> list[Activity]:
    """The newest day first. Raises NotFoundError for a key, user or workspace that never was."""
    start = midnight(wanted.first, wanted.zone)
    end = midnight(wanted.last + timedelta(days=1), wanted.zone)
    day = step_of(usage.c.bucket, "day", wanted.zone, start, end).label("day")
    by = [usage.c.workspace_id] if wanted.by_workspace else []
    each = select(
        day, usage.c.model_permaslug, usage.c.endpoint, usage.c.model, usage.c.provider_name, *by,
        usage.c.cost_pico, usage.c.upstream_pico, usage.c.requests, usage.c.prompt_tokens,
    ).where(usage.c.bucket >= start, usage.c.bucket < end)  # fmt: skip
    if wanted.key_hash is not None:
        each = each.where(usage.c.key_id == _id(connection, wanted.key_hash))
    if wanted.user_id is not None:
        _require(connection, users.c.id, wanted.user_id, "user_id")
        each = each.where(usage.c.key_id.in_(select(api_keys.c.id).where(api_keys.c.owner_id == wanted.user_id)))
    if wanted.workspace_id is not None:
        _require(connection, workspaces.c.id, wanted.workspace_id, "workspace_id")
        each = each.where(usage.c.workspace_id == wanted.workspace_id)
    rows = each.subquery()
    keys = [rows.c.day, rows.c.model_permaslug, rows.c.endpoint, *(rows.c[column.name] for column in by)]
    found = connection.execute(
        select(
            *keys,
            func.max(rows.c.model).label("model"),
            func.max(rows.c.provider_name).label("provider_name"),
            *(
                func.sum(rows.c[name]).label(name)
                for name in ("cost_pico", "upstream_pico", "requests", "prompt_tokens")
            ),
        )
        .group_by(*keys)
        .order_by(rows.c.day.desc(), *keys[1:])
    ).mappings()
    return [
        Activity(
            day=day_of(int(row["day"])),
            model=row["model"],
            model_permaslug=row["model_permaslug"],
            endpoint=row["endpoint"],
            provider_name=row["provider_name"],
            workspace_id=row.get("workspace_id"),
            cost_pico=int(row["cost_pico"]),
            upstream_pico=int(row["upstream_pico"]),
            requests=int(row["requests"]),
            prompt_tokens=int(row["prompt_tokens"]),
        )
        for row in found
    ]


def days(first: date, last: date) -> Sequence[date]:
    """From the first to the last, both included."""
    return [first + timedelta(days=count) for count in range((last - first).days + 1)]


def _id(connection: Connection, key_hash: str) -> int:
    found = connection.execute(select(api_keys.c.id).where(api_keys.c.hash == key_hash)).scalar_one_or_none()
    if found is None:
        raise NotFoundError("api_key_hash: no API key has this hash", metadata={"field": "api_key_hash"})
    return int(found)


def _require(connection: Connection, column: object, value: str, field: str) -> None:
    if connection.execute(select(column).where(column == value)).first() is None:  # type: ignore[call-overload]
        raise NotFoundError(f"{field}: there is none with this id", metadata={"field": field})
