"""Private endpoints: drafted, edited, priced, switched and removed. What proves one is in `validating`."""

import re
import uuid
from typing import Final, Literal

import msgspec

from embedrouter.accounts import private_endpoints
from embedrouter.accounts.private_endpoints import (
    Activation,
    Edit,
    NewPrivateEndpoint,
    Pricing,
    PrivateEndpoint,
    Removal,
    Repricing,
    Switch,
    Upstream,
)
from embedrouter.context import Context
from embedrouter.fields import bad_field, plain, sent
from embedrouter.ledger.book import now
from embedrouter.managing.private_bodies import CreatePrivateEndpoint, PricingBody, UpdatePrivateEndpoint
from embedrouter.managing.validating import checked_url, described, public_pricing
from embedrouter.money import pico_usd

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def draft(
    context: Context, wanted: CreatePrivateEndpoint, by: str, asked_as: tuple[str, str] | None = None
) -> PrivateEndpoint:
    """Not routable before it is validated and activated. asked_as: an idempotency key, and its request's hash."""
    model, provider = described(context, wanted.model_permaslug, wanted.provider_slug)
    upstream = Upstream(
        upstream_model_id=plain("upstream_model_id", wanted.upstream_model_id),
        base_url=checked_url(provider, wanted.base_url),
        pricing=public_pricing(model, provider) if wanted.pricing is None else _pricing(wanted.pricing),
        declared_region=wanted.declared_region,
        declared_zdr=wanted.declared_zdr,
    )
    new = NewPrivateEndpoint(
        id=str(uuid.uuid4()),
        model_permaslug=model.canonical_slug,
        provider_slug=provider.slug,
        upstream=upstream,
        at=now(),
        created_by=by,
        idempotency_key=asked_as and asked_as[0],
        request_hash=asked_as and asked_as[1],
    )
    return await context.writer.write(private_endpoints.create, new)


async def find(context: Context, id_: str) -> PrivateEndpoint:
    """Raises NotFoundError."""
    _check(id_)
    return await context.database.read(lambda connection: private_endpoints.find(connection, id_))


async def edit(context: Context, id_: str, wanted: UpdatePrivateEndpoint) -> PrivateEndpoint:
    """Whatever changes clears its validation; another upstream clears declarations that are not repeated."""
    known = await find(context, id_)
    values = sent(wanted)
    plain("upstream_model_id", wanted.upstream_model_id)
    if "base_url" in values:
        _, provider = described(context, known.model_permaslug, known.provider_slug)
        values["base_url"] = checked_url(provider, values["base_url"])
    return await context.writer.write(private_endpoints.edit, Edit(id_, values, now()))


async def activate(context: Context, id_: str, workspace_id: str | None = None) -> PrivateEndpoint:
    """For the workspace it was validated for; another one that is named is refused."""
    _check(id_)
    return await context.writer.write(private_endpoints.activate, Activation(id_, now(), workspace_id))


async def switch(context: Context, id_: str, status: Literal["active", "disabled"]) -> PrivateEndpoint:
    """Nothing is routed to it while it is disabled."""
    _check(id_)
    return await context.writer.write(private_endpoints.switch, Switch(id_, status, now()))


async def reprice(context: Context, id_: str, wanted: PricingBody) -> PrivateEndpoint:
    """All prices at once, also of what is active."""
    _check(id_)
    return await context.writer.write(private_endpoints.reprice, Repricing(id_, _pricing(wanted), now()))


async def remove(context: Context, id_: str, *, draft_only: bool = False) -> None:
    """Nothing is routed to it any more."""
    _check(id_)
    await context.writer.write(private_endpoints.remove, Removal(id_, draft_only))


def _check(id_: str) -> None:
    if not _UUID.fullmatch(id_):
        raise private_endpoints.no_such()


def _pricing(given: PricingBody) -> Pricing:
    for name in PricingBody.__struct_fields__:
        try:
            pico_usd(getattr(given, name) or "0")
        except ValueError as error:
            raise bad_field(f"pricing.{name}", str(error)) from error
    return Pricing(**msgspec.structs.asdict(given))
