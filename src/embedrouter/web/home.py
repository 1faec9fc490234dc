"""/: what this server is, the first request, what it serves, how busy it is."""

from typing import Any

from litestar import Request, Response, get

from embedrouter.context import Context
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.ledger import pulse
from embedrouter.ledger.book import now
from embedrouter.web.layout import page


@get("/", opt=PUBLIC)
async def home(request: Request[Any, Any, Any], context: Context, entrance: Entrance) -> Response[str]:
    """The page."""
    catalog = context.catalog.loaded.catalog
    at = now()
    model = {
        "title": "Text embeddings",
        "address": entrance.address,
        "models": catalog.models,
        "providers": catalog.providers,
        "today": await context.database.read(lambda connection: pulse.today(connection, at)),
    }
    return page(request, "home.html", model)
