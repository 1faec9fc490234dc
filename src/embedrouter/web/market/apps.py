"""/apps: who sends requests, in public, by tokens; with `url`, one of them.

What apps say of themselves is anybody's text: bounded where it comes in (api/attribution.py), escaped when shown.
"""

from datetime import UTC, timedelta
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response, get
from litestar.params import QueryParameter

from embedrouter.catalog.catalog import Catalog
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.errors import NotFoundError
from embedrouter.ledger import apps
from embedrouter.ledger.app_usage import AppDay, AppStanding, app_days, app_standings, find_app
from embedrouter.ledger.apps import App
from embedrouter.ledger.book import now
from embedrouter.ledger.zones import today
from embedrouter.web.charts import Chart, Series
from embedrouter.web.forms import address
from embedrouter.web.layout import page
from embedrouter.web.market.choices import LENGTHS, LONGEST, chosen, length_tabs, page_number, pages
from embedrouter.web.market.moves import Move, move
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]
Number = Annotated[str, QueryParameter(name="page")]

SIZE: Final = 50  # apps a page
_DAYS: Final = 30
_COLOURS: Final = 7  # models with one of their own in the chart; the others are put together


class AppRow(msgspec.Struct, frozen=True, kw_only=True):
    """One app in a list."""

    rank: int
    title: str
    host: str
    href: str
    tokens: int
    requests: int
    move: Move


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """What an app asked of one model."""

    name: str
    href: str | None  # None: the catalog has it no more
    tokens: int
    requests: int
    share: float  # of the app's tokens, 0 to 100


class _Found(NamedTuple):
    """What the database has of one app."""

    days: tuple[AppDay, ...]
    standings: tuple[AppStanding, ...]


@get("/apps", opt=PUBLIC)
async def app_pages(
    request: AnyRequest,
    context: Context,
    entrance: Entrance,
    url: str | None = None,
    period: str = "week",
    q: str = "",
    number: Number = "1",
) -> Response[str]:
    """The directory, or an app's page."""
    if url:
        return await _app(request, context, url)
    length = chosen("period", period, LENGTHS)
    at, query = now(), q.strip()[:LONGEST]
    every = await context.database.read(lambda connection: app_standings(connection, length, at, apps.MOST))
    rows = [app_row(one) for one in every]
    found = [one for one in rows if matches(one, query)]
    place = page_number(number)
    model = {
        "title": "Apps",
        "rows": found[(place - 1) * SIZE : place * SIZE],
        "pages": pages("/apps", place, len(found), SIZE, period=period, q=query),
        "total": len(rows),
        "query": query,
        "period": period,
        "tabs": length_tabs("/apps", q=query),
        "link": entrance.address + address("/apps", period=period, q=query),
        "most": apps.MOST,
    }
    return page(request, "market/apps.html", model)


def app_row(one: AppStanding) -> AppRow:
    """As lists show it."""
    return AppRow(
        rank=one.rank,
        title=title_of(one.app),
        host=host_of(one.app),
        href=address("/apps", url=one.app.url),
        tokens=one.tokens,
        requests=one.requests,
        move=move(one.tokens, one.tokens_before, one.rank, one.rank_before),
    )


def title_of(app: App) -> str:
    """What it calls itself, else where it is."""
    return app.title or host_of(app)


def host_of(app: App) -> str:
    """Its URL without the scheme: apps of one host differ by their paths."""
    return app.url.partition("://")[2]


def matches(row: AppRow, query: str) -> bool:
    """Whether all words are in its title or its address."""
    text = f"{row.title} {row.host}".lower()
    return all(word in text for word in query.lower().split())


async def _app(request: AnyRequest, context: Context, url: str) -> Response[str]:
    at, bare = now(), url.rstrip("/")
    app = await context.database.read(lambda connection: find_app(connection, url) or find_app(connection, bare))
    if app is None:
        raise NotFoundError("No app of this address has been used in public here")
    found = await context.database.read(
        lambda connection: _Found(
            app_days(connection, app.id, at, _DAYS), app_standings(connection, "month", at, apps.MOST)
        )
    )
    place = next((one for one in found.standings if one.app.id == app.id), None)
    rows = model_rows(found.days, context.catalog.loaded.catalog)
    model = {
        "title": title_of(app),
        "app": app,
        "host": urlsplit(app.url).hostname or host_of(app),
        "place": place,
        "apps": len(found.standings),
        "move": place and move(place.tokens, place.tokens_before, place.rank, place.rank_before),
        "rows": rows,
        "tokens": sum(one.tokens for one in rows),
        "requests": sum(one.requests for one in rows),
        "chart_spec": day_chart(found.days, at, context.catalog.loaded.catalog),
        "crumbs": (Crumb("Apps", "/apps"), Crumb(title_of(app))),
    }
    return page(request, "market/app.html", model)


def model_rows(days: tuple[AppDay, ...], catalog: Catalog) -> tuple[ModelRow, ...]:
    """By model, most tokens first."""
    sums: dict[str, tuple[int, int]] = {}
    for one in days:
        tokens, requests = sums.get(one.model_permaslug, (0, 0))
        sums[one.model_permaslug] = (tokens + one.tokens, requests + one.requests)
    total = sum(tokens for tokens, _ in sums.values())
    rows = []
    for name, (tokens, requests) in sums.items():
        model = catalog.get(name)
        rows.append(
            ModelRow(
                name=name if model is None else model.name,
                href=None if model is None else f"/{model.slug}",
                tokens=tokens,
                requests=requests,
                share=100.0 * tokens / total if total else 0.0,
            )
        )
    return tuple(sorted(rows, key=lambda one: (-one.tokens, one.name)))


def day_chart(days: tuple[AppDay, ...], at: int, catalog: Catalog) -> Chart:
    """Tokens of each of the last days by model; days without any are there with nothing."""
    every = [today(at, UTC) - timedelta(days=back) for back in reversed(range(_DAYS))]
    totals: dict[str, int] = {}
    for one in days:
        totals[one.model_permaslug] = totals.get(one.model_permaslug, 0) + one.tokens
    order = sorted(totals, key=lambda name: (-totals[name], name))
    kept, others = order[:_COLOURS], set(order[_COLOURS:])
    sums: dict[tuple[str, object], int] = {}
    for one in days:
        key = ("" if one.model_permaslug in others else one.model_permaslug, one.day)
        sums[key] = sums.get(key, 0) + one.tokens
    series = [Series(name=_name(name, catalog), values=[sums.get((name, day), 0) for day in every]) for name in kept]
    if others:
        series.append(Series(name="Other models", values=[sums.get(("", day), 0) for day in every]))
    return Chart(
        kind="bars",
        caption="Tokens a day by model, UTC",
        unit="tokens",
        x=[f"{day:%-d %b}" for day in every],
        series=series,
        stacked=True,
    )


def _name(permaslug: str, catalog: Catalog) -> str:
    model = catalog.get(permaslug)
    return permaslug if model is None else model.name
