"""The routes that ask a model."""

from typing import Final

from litestar.handlers import ASGIRouteHandler

from embedrouter.api.embeddings import EMBEDDINGS
from embedrouter.api.rerank import RERANK
from embedrouter.api.similarity import SIMILARITY
from embedrouter.api.tokenize import TOKENIZE
from embedrouter.api.visit import handler_of
from embedrouter.context import Context

ROUTES: Final = (EMBEDDINGS, RERANK, SIMILARITY, TOKENIZE)


def inference_routes(context: Context) -> list[ASGIRouteHandler]:
    """Their handlers."""
    return [handler_of(route, context) for route in ROUTES]
