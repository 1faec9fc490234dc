"""How much apps are used, in public, from the sums by UTC day.

Only public usage counts. An app that has none is nobody's business: pages must not show that it exists.
"""

from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger.apps import App, all_apps
from embedrouter.ledger.rollups import APP_DAYS, Columns, rows
from embedrouter.ledger.spans import LENGTHS, Length, Span, days
from embedrouter.ledger.zones import day_of
from embedrouter.store.tables import apps

_DAYS: Final = 30
_EVER: Final = Span(0, 1 << 40)


class AppTokens(NamedTuple):
    """What an app asked of a model."""

    app: App
    tokens: int
    requests: int


class AppStanding(NamedTuple):
    """An app's place."""

    rank: int
    app: App
    tokens: int
    requests: int
    tokens_before: int  # in the days before, as many
    rank_before: int | None  # None: it was not used then


class AppDay(NamedTuple):
    """A UTC day of an app with one model."""

    day: date
    model_permaslug: str
    tokens: int
    requests: int


def app_standings(connection: Connection, length: Length, at: int, limit: int = 100) -> tuple[AppStanding, ...]:
    """Apps by tokens in the last 1, 7 or 30 UTC days, beside as many days before. Today counts as far as it has come,
    so what is beside the first hours of a day is a whole day. at: now, in microseconds."""
    span = days(LENGTHS[length], at)
    now, before = _sums(connection, span), _sums(connection, span.before)
    places = {app: rank for rank, app in enumerate(_order(before), 1)}
    known = {app.id: app for app in all_apps(connection)}
    return tuple(
        AppStanding(rank, known[app], *now[app], before.get(app, (0, 0))[0], places.get(app))
        for rank, app in enumerate([one for one in _order(now) if one in known][:limit], 1)
    )


def model_apps(
    connection: Connection, model_permaslug: str, at: int, count: int = _DAYS, limit: int = 20
) -> tuple[AppTokens, ...]:
    """The apps that asked most of one model in the last UTC days."""
    found = _sums(connection, days(count, at), model_permaslug)
    order = _order(found)[:limit]
    known = {row.id: row for row in _apps(connection, apps.c.id.in_(order))}
    return tuple(AppTokens(known[app], *found[app]) for app in order if app in known)


def find_app(connection: Connection, url: str) -> App | None:
    """An app by its normalised URL, or None: also of one that was never used in public."""
    found = _apps(connection, apps.c.url == url)
    if not found:
        return None
    used = rows(connection, APP_DAYS, _EVER, ("bucket",), lambda of: [of["app_id"] == found[0].id])
    return found[0] if connection.execute(select(used).limit(1)).first() is not None else None


def app_days(connection: Connection, app_id: int, at: int, count: int = _DAYS) -> tuple[AppDay, ...]:
    """One app's last UTC days by model, the oldest first, of those in which it was used. Today is the last one."""
    each = rows(
        connection, APP_DAYS, days(count, at), ("bucket", "model_permaslug", "prompt_tokens", "requests"),
        lambda of: [of["app_id"] == app_id],
    ).c  # fmt: skip
    by = (each.bucket, each.model_permaslug)
    found = connection.execute(
        select(*by, func.sum(each.prompt_tokens), func.sum(each.requests)).group_by(*by).order_by(*by)
    )
    return tuple(AppDay(day_of(int(row[0])), row[1], int(row[2]), int(row[3])) for row in found)


def _sums(connection: Connection, span: Span, model_permaslug: str | None = None) -> dict[int, tuple[int, int]]:
    """Tokens and requests by app."""

    def wanted(of: Columns) -> list[Any]:
        return [] if model_permaslug is None else [of["model_permaslug"] == model_permaslug]

    each = rows(connection, APP_DAYS, span, ("app_id", "prompt_tokens", "requests"), wanted).c
    found = connection.execute(
        select(each.app_id, func.sum(each.prompt_tokens), func.sum(each.requests)).group_by(each.app_id)
    )
    return {app: (int(tokens), int(requests)) for app, tokens, requests in found}


def _order(found: dict[int, tuple[int, int]]) -> list[int]:
    return sorted((app for app in found if found[app][0] > 0), key=lambda app: (-found[app][0], app))


def _apps(connection: Connection, condition: Any) -> list[App]:
    found = connection.execute(select(apps.c.id, apps.c.url, apps.c.title, apps.c.categories).where(condition))
    return [App(row.id, row.url, row.title, tuple(filter(None, row.categories.split(",")))) for row in found]
