"""/rankings: models, authors and apps by tokens, and how the market is shared over time. Public usage only."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get

from embedrouter.catalog.catalog import Catalog
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.ledger.app_usage import AppStanding, app_standings
from embedrouter.ledger.book import now
from embedrouter.ledger.rankings import OTHER
from embedrouter.ledger.spans import Length
from embedrouter.ledger.trends import By, Grain, Share, Standing, market_share, standings
from embedrouter.web.charts import Chart, Series
from embedrouter.web.forms import address
from embedrouter.web.layout import page
from embedrouter.web.market.apps import app_row
from embedrouter.web.market.choices import LENGTHS, chosen, length_tabs
from embedrouter.web.market.moves import Move, move
from embedrouter.web.view import Tab

AnyRequest = Request[Any, Any, Any]

_BY: Final[Mapping[str, By]] = {"model": "model", "author": "author"}
_WINDOWS: Final[Mapping[Length, str]] = {"day": "24 hours", "week": "7 days", "month": "30 days"}
_MOST: Final = 50  # models in the table
_APPS: Final = 10


class Steps(NamedTuple):
    """How the market's shares are cut."""

    grain: Grain
    number: int  # of days or weeks
    title: str


_STEPS: Final[Mapping[Length, Steps]] = {
    "day": Steps("day", 30, "Day"),
    "week": Steps("week", 12, "Week from"),
    "month": Steps("week", 52, "Week from"),
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A model or an author in the list."""

    rank: int
    title: str
    detail: str  # slug
    href: str | None
    tokens: int
    requests: int
    share: float  # of all tokens, 0 to 100
    move: Move


class _Seen(NamedTuple):
    """What the database has."""

    standings: tuple[Standing, ...]
    apps: tuple[AppStanding, ...]
    shares: tuple[Share, ...]


@get("/rankings", opt=PUBLIC)
async def rankings(
    request: AnyRequest, context: Context, entrance: Entrance, period: str = "week", by: str = "model"
) -> Response[str]:
    """The page."""
    length, wanted = chosen("period", period, LENGTHS), chosen("by", by, _BY)
    at = now()
    catalog = context.catalog.loaded.catalog
    steps = _STEPS[length]
    seen = await context.database.read(
        lambda connection: _Seen(
            standings(connection, length, at, wanted),
            app_standings(connection, length, at, _APPS),
            market_share(connection, at, wanted, steps.grain, steps.number),
        )
    )
    model = {
        "title": "Rankings",
        "period": period,
        "by": by,
        "tabs": length_tabs("/rankings", by=by if by != "model" else None),
        "ways": (
            Tab("model", "Models", address("/rankings", period=period)),
            Tab("author", "Authors", address("/rankings", period=period, by="author")),
        ),
        "window": _WINDOWS[length],
        "link": entrance.address + address("/rankings", period=period, by=by),
        "rows": rows_of(seen.standings, wanted, catalog)[:_MOST],
        "total": len(seen.standings),
        "tokens": sum(one.tokens for one in seen.standings),
        "requests": sum(one.requests for one in seen.standings),
        "apps": [app_row(one) for one in seen.apps],
        "shares": share_chart(seen.shares, steps, wanted, catalog),
        "amounts": amount_chart(seen.shares, steps, wanted, catalog),
    }
    return page(request, "market/rankings.html", model)


def rows_of(found: Sequence[Standing], by: By, catalog: Catalog) -> list[Row]:
    """With names and addresses of what the catalog still has."""
    total = sum(one.tokens for one in found)
    return [
        Row(
            rank=one.rank,
            title=name_of(one.name, by, catalog),
            detail=one.name,
            href=_href(one.name, by, catalog),
            tokens=one.tokens,
            requests=one.requests,
            share=100.0 * one.tokens / total,
            move=move(one.tokens, one.tokens_before, one.rank, one.rank_before),
        )
        for one in found
    ]


def name_of(name: str, by: By, catalog: Catalog) -> str:
    """What people call a model; authors have but their slug."""
    model = catalog.get(name) if by == "model" else None
    return name if model is None else model.name


def share_chart(shares: Sequence[Share], steps: Steps, by: By, catalog: Catalog) -> Chart:
    """In percent of each day's or week's tokens."""
    names, starts, tokens = _grid(shares)
    totals = {start: sum(tokens.get((start, name), 0) for name in names) for start in starts}
    series = [
        Series(
            name=_told(name, by, catalog),
            values=[100.0 * tokens.get((start, name), 0) / totals[start] for start in starts],
        )
        for name in names
    ]
    return _chart("area", "Share of tokens", "percent", steps, starts, series)


def amount_chart(shares: Sequence[Share], steps: Steps, by: By, catalog: Catalog) -> Chart:
    """The same in tokens."""
    names, starts, tokens = _grid(shares)
    series = [
        Series(name=_told(name, by, catalog), values=[tokens.get((start, name), 0) for start in starts])
        for name in names
    ]
    return _chart("bars", "Tokens", "tokens", steps, starts, series)


def _chart(kind: Any, what: str, unit: Any, steps: Steps, starts: Sequence[date], series: Sequence[Series]) -> Chart:
    return Chart(
        kind=kind,
        caption=f"{what} by {steps.grain}, UTC",
        unit=unit,
        x=[f"{start:%-d %b %Y}" if steps.number > 30 else f"{start:%-d %b}" for start in starts],
        x_title=steps.title,
        series=series,
        stacked=True,
        high=100 if unit == "percent" else None,
    )


def _grid(shares: Sequence[Share]) -> tuple[list[str], list[date], dict[tuple[date, str], int]]:
    """Names, the largest first and others last; days or weeks with use; tokens of each in each."""
    totals: dict[str, int] = {}
    for one in shares:
        totals[one.name] = totals.get(one.name, 0) + one.tokens
    names = sorted(totals, key=lambda name: (name == OTHER, -totals[name], name))
    starts = sorted({one.start for one in shares})
    return names, starts, {(one.start, one.name): one.tokens for one in shares}


def _told(name: str, by: By, catalog: Catalog) -> str:
    return "All others" if name == OTHER else name_of(name, by, catalog)


def _href(name: str, by: By, catalog: Catalog) -> str | None:
    if by == "author":
        return address("/models", author=name) if any(model.author == name for model in catalog.models) else None
    model = catalog.get(name)
    return None if model is None else f"/{model.slug}"
