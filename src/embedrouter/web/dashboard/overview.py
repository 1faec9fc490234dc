"""/dashboard: what was spent and used today and this month, the last 30 days, keys that are near their limits."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get

from embedrouter.accounts.keys import ApiKey, KeyFilter, list_keys
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import User
from embedrouter.context import Context
from embedrouter.entrance import SESSION, Entrance
from embedrouter.ledger.book import now
from embedrouter.ledger.logs import reader
from embedrouter.ledger.series import Point, Series, Totals, series
from embedrouter.ledger.spent import NOTHING, Spent, spent_by_keys
from embedrouter.periods import start_of
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.dashboard.key_rows import MOST, KeyRow
from embedrouter.web.dashboard.stacks import change, stack

_NEAR: Final = 80  # percent of a limit


class Overview(NamedTuple):
    """What the page tells."""

    month: Series  # the last 30 days, by model
    today: Totals
    this_month: Totals
    near: tuple[KeyRow, ...]  # keys of whose limit little is left, the least first
    keys: int


@get("/dashboard", opt=SESSION)
async def overview(
    request: Request[Any, Any, Any], context: Context, entrance: Entrance, signed_in: SignedIn
) -> Response[str]:
    """The page."""
    at = now()
    found = await context.database.read(lambda connection: _overview(connection, signed_in.user, at))
    catalog = context.catalog.loaded.catalog
    model = {
        "title": "Dashboard",
        "found": found,
        "spend": stack(found.month, "spend", "Spend a day, by model"),
        "tokens": stack(found.month, "tokens", "Tokens a day, by model"),
        "change": change(found.month, "spend"),
        "address": entrance.address,
        "slug": catalog.models[0].slug if catalog.models else "author/model",
    }
    return dashboard_page(request, signed_in, "dashboard/overview.html", model)


def _overview(connection: Any, me: User, at: int) -> Overview:
    who = reader(connection, me.sees_only)
    month = series(connection, who, "month", "model", at)
    year = series(connection, who, "year", "provider", at)
    keys = list_keys(connection, KeyFilter(me.sees_only, not_expired_at=at, limit=MOST))
    spent = spent_by_keys(connection, [key.id for key in keys if key.limit_pico is not None][:5_000], at)
    return Overview(
        month,
        _together(month.points, start_of("day", at)),
        _together(year.points, start_of("month", at)),
        _near(keys, spent, at),
        len(keys),
    )


def _near(keys: list[ApiKey], spent: Mapping[int, Spent], at: int) -> tuple[KeyRow, ...]:
    rows = [KeyRow(key, spent.get(key.id, NOTHING), at) for key in keys if key.limit_pico is not None]
    return tuple(sorted((row for row in rows if (row.percent or 0) >= _NEAR), key=lambda row: -(row.percent or 0)))


def _together(points: tuple[Point, ...], start: int) -> Totals:
    """Of the step that begins then."""
    of = [point.totals for point in points if point.start == start]
    return Totals(*map(sum, zip(*of, strict=True))) if of else Totals()
