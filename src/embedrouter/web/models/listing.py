"""/models: what is served, searched, filtered and sorted with the API's own parameters."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get

from embedrouter.catalog.models import Model
from embedrouter.catalog.select import cheapest, select, wanted
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC
from embedrouter.ledger import trends
from embedrouter.ledger.book import now
from embedrouter.ledger.trends import ModelTokens
from embedrouter.web.layout import page, wants_part
from embedrouter.web.models import asked
from embedrouter.web.models.asked import FORMATS, PATH, Asked
from embedrouter.web.view import Pages

_SHOWN: Final = 60  # models a page


class Row(NamedTuple):
    """A model of the list."""

    model: Model
    price: int  # the lowest, in pico-USD a prompt token
    providers: int
    tokens: int  # of the last week
    zdr: bool  # whether an endpoint keeps no prompts


@get(PATH, opt=PUBLIC)
async def models(request: Request[Any, Any, Any], context: Context) -> Response[str]:
    """The page, or its results for htmx."""
    catalog, at = context.catalog.loaded.catalog, now()
    given = asked.read(request.query_params.multi_items())
    weekly = await context.database.read(lambda connection: trends.weekly_tokens(connection, at))
    found = select(catalog.models, wanted(given.query))
    tokens = {one.model_permaslug: one for one in weekly}
    model = {
        "title": "Models",
        "asked": given,
        "rows": [row(one, tokens) for one in found[given.offset : given.offset + _SHOWN]],
        "total": len(found),
        "all": len(catalog.models),
        "pages": _pages(given, len(found)),
        "chips": list(asked.chips(given, catalog)),
        "choices": asked.choices(given, catalog),
        "formats": [(one, asked.address_of(given, fmt=one)) for one in FORMATS],
        "clear": asked.address_of(Asked(type(given.query)(), given.fmt)),
    }
    template, headers = "models/list.html", {}
    if wants_part(request):
        template, headers = "models/_found.html", {"HX-Push-Url": asked.address_of(given)}
    return page(request, template, model, status=400 if given.wrong else 200, headers=headers)


def row(model: Model, weekly: Mapping[str, ModelTokens]) -> Row:
    """weekly: by canonical slug."""
    used = weekly.get(model.canonical_slug)
    return Row(
        model,
        cheapest(model),
        len({endpoint.provider.slug for endpoint in model.endpoints}),
        0 if used is None else used.tokens,
        any(not endpoint.data_policy.retains_prompts for endpoint in model.endpoints),
    )


def _pages(given: Asked, total: int) -> Pages | None:
    start, end = given.offset, min(given.offset + _SHOWN, total)
    if (start == 0 and end == total) or start >= total:
        return None
    before = asked.address_of(given, offset=max(0, start - _SHOWN) or None) if start else None
    after = asked.address_of(given, offset=end) if end < total else None
    return Pages(start + 1, end, total, before, after)
