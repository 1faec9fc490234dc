"""/{author}/{slug}: everything about a model, and a tab for each part of it."""

import asyncio
from difflib import get_close_matches
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException

from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.models import Model
from embedrouter.catalog.select import cheapest
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC
from embedrouter.errors import NotFoundError
from embedrouter.ledger import trends
from embedrouter.ledger.book import now
from embedrouter.ledger.trends import ModelTokens
from embedrouter.web.formats import price
from embedrouter.web.layout import HEADERS, page
from embedrouter.web.models.sections import SECTIONS
from embedrouter.web.problems import is_browser
from embedrouter.web.view import Crumb, Tab

AnyRequest = Request[Any, Any, Any]

_NEAR: Final = 5  # names that are told to who asked for none of ours
_OVERVIEW: Final = "overview"


class Facts(NamedTuple):
    """The head of a model's page."""

    model: Model
    price: int  # the lowest, in pico-USD a prompt token
    prices: str | None  # from the lowest to the highest, where they differ
    weekly: ModelTokens | None
    zdr: int  # endpoints that keep no prompts


# The tabs are spelled out, so that other addresses of three parts are nobody's.
@get(
    ["/{author:str}/{slug:str}", *(f"/{{author:str}}/{{slug:str}}/{section.key}" for section in SECTIONS)],
    opt=PUBLIC,
)
async def model_page(request: AnyRequest, context: Context, author: str, slug: str) -> Response[Any]:
    """The page, or one of its tabs; at any other name of the model, the way to it."""
    parts = request.scope["path"].strip("/").split("/")
    key = parts[2] if len(parts) > 2 else _OVERVIEW
    name = f"{author}/{slug}"
    try:
        model = context.catalog.loaded.catalog.find(name)
    except NotFoundError as error:
        return _missing(request, context.catalog.loaded.catalog, name, error)
    if name != model.slug:
        return _moved(model, key, request.url.query)
    at = now()
    shown = [section for section in SECTIONS if key in (section.key, _OVERVIEW)]
    weekly, *views = await asyncio.gather(
        context.database.read(lambda connection: trends.weekly_tokens(connection, at)),
        *(section.view(context, model, at) for section in shown),
    )
    title = model.name if key == _OVERVIEW else f"{shown[0].title} of {model.name}"
    return page(
        request,
        "model/page.html",
        {
            "title": title,
            "facts": facts(model, next((one for one in weekly if one.model_permaslug == model.canonical_slug), None)),
            "crumbs": [Crumb("Models", "/models"), Crumb(model.author, f"/models?model_authors={quote(model.author)}"),
                       Crumb(model.name)],
            "tabs": [Tab(_OVERVIEW, "Overview", f"/{model.slug}"),
                     *(Tab(one.key, one.title, f"/{model.slug}/{one.key}") for one in SECTIONS)],
            "current": key,
            "sections": list(zip(shown, views, strict=True)),
        },
    )  # fmt: skip


@get("/models/{author:str}/{slug:str}", opt=PUBLIC)
async def model_elsewhere(request: AnyRequest, context: Context, author: str, slug: str) -> Response[Any]:
    """Where the original and the API have it: on to the model's page."""
    try:
        model = context.catalog.loaded.catalog.find(f"{author}/{slug}")
    except NotFoundError as error:
        return _missing(request, context.catalog.loaded.catalog, f"{author}/{slug}", error)
    return _moved(model, _OVERVIEW, request.url.query)


def facts(model: Model, weekly: ModelTokens | None) -> Facts:
    """weekly: None if nobody used it."""
    low, high = cheapest(model), max(endpoint.price.prompt for endpoint in model.endpoints)
    return Facts(
        model,
        low,
        None if low == high else f"{price(low)} to {price(high)}, by provider",
        weekly,
        sum(not endpoint.data_policy.retains_prompts for endpoint in model.endpoints),
    )


def _moved(model: Model, key: str, query: str) -> Response[Any]:
    path = quote(f"/{model.slug}" if key == _OVERVIEW else f"/{model.slug}/{key}")
    target = f"{path}?{query}" if query else path
    return Response(b"", status_code=308, media_type="text/plain", headers={**HEADERS, "Location": target})


def _missing(request: AnyRequest, catalog: Catalog, name: str, error: NotFoundError) -> Response[Any]:
    """Any address of two parts comes here, so programs are told what they are told of every address that is none."""
    if not is_browser(request):
        raise NotFoundException()
    waiting = error.availability is not None and error.availability["code"] == "no_endpoints"
    model = {
        "title": "Not served here" if waiting else "Not found",
        "name": name[:200],
        "waiting": waiting,
        "near": near(name, catalog),
    }
    return page(request, "model/missing.html", model, error=error if waiting else None, status=404)


def near(name: str, catalog: Catalog) -> list[Model]:
    """Models whose slugs are spelled much like it, or end alike."""
    slugs = {model.slug: model for model in catalog.models}
    ends = {slug.partition("/")[2]: slug for slug in slugs}
    wanted = name.lower()[:200]
    found = get_close_matches(wanted, slugs, n=_NEAR, cutoff=0.6)
    found += [ends[end] for end in get_close_matches(wanted.partition("/")[2], ends, n=_NEAR, cutoff=0.75)]
    return [slugs[slug] for slug in dict.fromkeys(found)][:_NEAR]
