"""The apps that use a model most, in public."""

from typing import Final

from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.ledger.app_usage import AppTokens, model_apps

_MOST: Final = 20


async def view(context: Context, model: Model, at: int) -> tuple[AppTokens, ...]:
    """Of the last 30 days."""
    return await context.database.read(lambda connection: model_apps(connection, model.canonical_slug, at, limit=_MOST))
