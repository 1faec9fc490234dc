"""/providers: who serves models here, and who would with a credential; /providers/{slug}: one of them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get

from embedrouter.catalog.models import Provider
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC
from embedrouter.errors import NotFoundError, nearest
from embedrouter.ledger.book import now
from embedrouter.ledger.provider_usage import ProviderModel, ProviderTokens, provider_models, provider_tokens
from embedrouter.ledger.uptime import uptime
from embedrouter.web.layout import page
from embedrouter.web.market.offers import Condition, Offer, condition, credential, offers, policies, told
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A provider in the list."""

    provider: Provider
    models: int
    uptime: float | None  # percent of the attempts of 24 clock hours at what was asked in public
    tokens: int  # of seven days
    requests: int
    policies: tuple[str, ...]
    credential: str


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a provider serves."""

    condition: Condition
    policies: tuple[str, ...]
    tokens: int  # of 24 clock hours, public
    requests: int


@get("/providers", opt=PUBLIC)
async def provider_list(request: AnyRequest, context: Context) -> Response[str]:
    """The page."""
    at = now()
    catalog = context.catalog.loaded.catalog
    used, asked = await context.database.read(
        lambda connection: (provider_tokens(connection, at), provider_models(connection, at))
    )
    model = {
        "title": "Providers",
        "rows": [_row(one, tuple(offers(catalog.models, one.slug)), used, asked) for one in catalog.providers],
        "waiting": catalog.waiting_providers,
    }
    return page(request, "market/providers.html", model)


@get("/providers/{slug:str}", opt=PUBLIC)
async def provider_page(request: AnyRequest, context: Context, slug: str) -> Response[str]:
    """The page."""
    at = now()
    catalog = context.catalog.loaded.catalog
    every = {one.slug: one for one in (*catalog.waiting_providers, *catalog.providers)}
    provider = every.get(slug.lower())
    if provider is None:
        raise NotFoundError(f'There is no provider "{slug[:100]}" here{nearest(slug.lower()[:100], list(every))}')
    served = provider in catalog.providers
    listed = tuple(offers(catalog.models, provider.slug))
    week, used = await context.database.read(
        lambda connection: (provider_tokens(connection, at), provider_models(connection, at, provider.name))
    )
    health = context.gateway.health
    model = {
        "title": provider.name,
        "provider": provider,
        "served": served,
        "credential": credential(provider, served=served),
        "rows": [_endpoint_row(condition(health, one), used) for one in listed],
        "row": _row(provider, listed, week, used),
        "crumbs": (Crumb("Providers", "/providers"), Crumb(provider.name)),
    }
    return page(request, "market/provider.html", model)


def _row(
    provider: Provider, listed: Sequence[Offer], used: Sequence[ProviderTokens], asked: Sequence[ProviderModel]
) -> Row:
    """listed: what he serves. used: seven days of all. asked: a day of all, or of him."""
    week = next((one for one in used if one.provider_name == provider.name), ProviderTokens(provider.name, 0, 0))
    served = {one.id for one in listed}
    return Row(
        provider=provider,
        models=len({one.model.slug for one in listed}),
        uptime=_together([one for one in asked if f"{one.model} {one.endpoint}" in served]),
        tokens=week.tokens,
        requests=week.requests,
        policies=policies(listed),
        credential=credential(provider, served=bool(listed)),
    )


def _endpoint_row(found: Condition, used: Sequence[ProviderModel]) -> EndpointRow:
    of = [one for one in used if f"{one.model} {one.endpoint}" == found.offer.id]
    return EndpointRow(
        condition=found,
        policies=told(found.offer.endpoint.data_policy),
        tokens=sum(one.tokens for one in of),
        requests=sum(one.requests for one in of),
    )


def _together(asked: Sequence[ProviderModel]) -> float | None:
    """The uptime of several, by their attempts."""
    attempts = sum(one.attempts for one in asked)
    answered = sum(one.attempts * (one.uptime or 0.0) / 100.0 for one in asked)
    return uptime(round(answered), attempts - round(answered))
