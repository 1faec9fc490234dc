"""GET and POST /playground. The island in frontend/src/islands/playground.ts does the same and more."""

import asyncio
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post

from embedrouter.catalog.builtin import SLUG
from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.errors import AuthenticationError, EmbedRouterError
from embedrouter.money import PICO
from embedrouter.web.forms import address, read_form
from embedrouter.web.frame import visitor
from embedrouter.web.layout import page
from embedrouter.web.playground.asking import (
    LARGEST_FORM,
    MOST_LINES,
    Asked,
    Embedded,
    asked_by,
    embed,
    require_right,
)
from embedrouter.web.playground.examples import EXAMPLES
from embedrouter.web.playground.results import WIDEST, Shown, shown
from embedrouter.web.view import Tab

AnyRequest = Request[Any, Any, Any]

_VIEWS: Final = {
    "matrix": "Similarity",
    "rank": "Ranking",
    "search": "Search",
    "clusters": "Clusters",
    "map": "Map",
    "tokens": "Tokens",
    "code": "Code",
}
_TABS: Final = [Tab(key, title, address("/playground", view=key)) for key, title in _VIEWS.items()]


class _Offered(msgspec.Struct, frozen=True):
    """A model to choose. price: USD a token, the lowest."""

    slug: str
    name: str
    dimensions: int
    price: float
    has_tokenizer: bool


class _Told(msgspec.Struct, frozen=True):
    """What the island must know."""

    signed_in: bool
    address: str
    models: list[_Offered]
    examples: tuple[Any, ...] = EXAMPLES


@get("/playground", opt=PUBLIC)
async def playground(
    request: AnyRequest, context: Context, entrance: Entrance, view: str = "matrix", example: str = ""
) -> Response[str]:
    """The form, with the texts of an example."""
    chosen = next((one for one in EXAMPLES if one.key == example), EXAMPLES[0])
    asked = Asked(_default(context), list(chosen.texts), chosen.query)
    model = _model(request, context, entrance, asked)
    return page(request, "playground/playground.html", {**model, "view": view if view in _VIEWS else "matrix"})


@post("/playground", status_code=200, opt=PUBLIC)
async def embed_form(request: AnyRequest, context: Context, entrance: Entrance) -> Response[str]:
    """The same with what was found."""
    asked = asked_by(await read_form(request, LARGEST_FORM), _default(context))
    model = _model(request, context, entrance, asked)
    try:
        if (found := visitor(request)) is None:
            raise AuthenticationError("Sign in first: what you embed is counted to your own Playground key")
        require_right(asked)
        embedded = await embed(context, found.user, asked, request.headers.get("user-agent", "")[:256] or None)
    except EmbedRouterError as error:
        return page(request, "playground/playground.html", model, error=error)
    made = await asyncio.to_thread(_shown, context, embedded, entrance.address)
    return page(request, "playground/playground.html", {**model, "embedded": embedded, "shown": made})


def _shown(context: Context, embedded: Embedded, address: str) -> Shown:
    counts = None
    if context.model is not None and embedded.result.model.slug == SLUG:
        counts = context.model.count_tokens(embedded.asked.lines)
    return shown(embedded, counts, address)


def _default(context: Context) -> str:
    models = _models(context)
    return next((one.slug for one in models if one.slug == SLUG), models[0].slug if models else SLUG)


def _models(context: Context) -> list[Model]:
    """Those that somebody serves."""
    return [one for one in context.catalog.loaded.catalog.models if one.endpoints]


def _model(request: AnyRequest, context: Context, entrance: Entrance, asked: Asked) -> dict[str, Any]:
    offered = [
        _Offered(
            one.slug,
            one.name,
            one.dimensions,
            min(endpoint.price.prompt for endpoint in one.endpoints) / PICO,
            one.slug == SLUG and context.model is not None,
        )
        for one in _models(context)
    ]
    return {
        "title": "Playground",
        "tabs": _TABS,
        "view": "matrix",
        "asked": asked,
        "models": offered,
        "examples": EXAMPLES,
        "most": MOST_LINES,
        "widest": WIDEST,
        "told": _Told(visitor(request) is not None, entrance.address, offered),
        "embedded": None,
        "shown": None,
    }
