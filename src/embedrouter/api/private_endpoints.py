"""/private-endpoints: a deployment of one's own as an endpoint of a model. With a management key."""

import hashlib
import re
import uuid
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from litestar import Request, Response, delete, get, patch, post, put
from litestar.params import Parameter
from msgspec import UNSET

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
from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import plain, read_small
from embedrouter.api.context import Context
from embedrouter.api.private_bodies import (
    ActivatePrivateEndpoint,
    CreatePrivateEndpoint,
    ForWorkspace,
    Gone,
    GoneAnswer,
    Item,
    ItemAnswer,
    ItemList,
    PricingBody,
    UpdatePricing,
    UpdatePrivateEndpoint,
    ValidationAnswer,
    ValidationItem,
)
from embedrouter.api.problems import envelope
from embedrouter.api.validating import checked_url, described, public_pricing, validated
from embedrouter.errors import EmbedRouterError, InvalidRequestError, UnprocessableError
from embedrouter.ledger.book import now
from embedrouter.money import pico_usd
from embedrouter.periods import iso

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")
_COMPARED: Final = (
    "model_permaslug", "provider_slug", "upstream_model_id", "base_url", "declared_region", "declared_zdr", "pricing",
)  # fmt: skip
_TAGS: Final = ["Private endpoints"]


_CREATE: Final = msgspec.json.Decoder(CreatePrivateEndpoint)
_UPDATE: Final = msgspec.json.Decoder(UpdatePrivateEndpoint)
_PRICING: Final = msgspec.json.Decoder(UpdatePricing)
_ACTIVATE: Final = msgspec.json.Decoder(ActivatePrivateEndpoint)
_WORKSPACE: Final = msgspec.json.Decoder(ForWorkspace)


@get(
    "/private-endpoints",
    summary="List the private endpoints",
    tags=_TAGS,
    operation_id="listPrivateEndpoints",
    opt=MANAGEMENT,
)
async def list_items(context: Context) -> ItemList:
    """Drafts, too."""
    found = await context.database.read(private_endpoints.list_private_endpoints)
    return ItemList([_item(context, one) for one in found])


@post(
    "/private-endpoints",
    summary="Draft a private endpoint",
    tags=_TAGS,
    operation_id="createPrivateEndpoint",
    opt=MANAGEMENT,
)
async def create_item(
    request: Request[Any, Any, Any],
    context: Context,
    idempotency_key: Annotated[
        str | None,
        Parameter(
            header="Idempotency-Key",
            description="1 to 255 printable ASCII characters; a repeated key gives what it made the first time.",
        ),
    ] = None,
) -> Response[Any]:
    """A draft is not routable before it is validated and activated; `activate` does both at once."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise _bad("Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    model, provider = described(context, wanted.model_permaslug, wanted.provider_slug)
    upstream = Upstream(
        upstream_model_id=plain("upstream_model_id", wanted.upstream_model_id),
        base_url=checked_url(provider, wanted.base_url),
        pricing=_pricing(wanted.pricing) or public_pricing(model, provider),
        declared_region=wanted.declared_region,
        declared_zdr=wanted.declared_zdr,
    )
    compared = orjson.dumps([msgspec.to_builtins(getattr(wanted, name)) for name in _COMPARED])
    new = NewPrivateEndpoint(
        id=str(uuid.uuid4()),
        model_permaslug=model.canonical_slug,
        provider_slug=provider.slug,
        upstream=upstream,
        at=now(),
        created_by=f"key:{caller_of(request).key.label}",
        idempotency_key=idempotency_key,
        request_hash=None if idempotency_key is None else hashlib.sha256(compared).hexdigest(),
    )
    made = await context.writer.write(private_endpoints.create, new)
    if wanted.activate is None or made.status != "draft":
        return Response(ItemAnswer(_item(context, made)), status_code=201)
    return await _activated_at_once(context, made, plain("activate.workspace_id", wanted.activate.workspace_id))


async def _activated_at_once(context: Context, made: PrivateEndpoint, workspace_id: str) -> Response[Any]:
    """201, or the error with the draft that stays, and what its validation found."""
    found = None
    try:
        found = await validated(context, made, workspace_id)
        if not found.passed:
            raise UnprocessableError("the validation did not pass; the draft is kept: mend it, validate, activate")
        active = await context.writer.write(private_endpoints.activate, Activation(made.id, now()))
    except EmbedRouterError as error:
        shown = None if found is None else ValidationItem(found.passed, list(found.checks))
        data = {"endpoint": _item(context, made), "validation": shown}
        return Response({**envelope(error), "data": msgspec.to_builtins(data)}, status_code=error.status)
    return Response(ItemAnswer(_item(context, active)), status_code=201)


@get(
    "/private-endpoints/{id:str}",
    summary="Get a private endpoint",
    tags=_TAGS,
    operation_id="getPrivateEndpoint",
    opt=MANAGEMENT,
)
async def get_item(context: Context, id: str) -> ItemAnswer:  # noqa: A002 (the path's own name)
    """With its upstream and its declared prices."""
    return ItemAnswer(_item(context, await _find(context, id)))


@patch(
    "/private-endpoints/{id:str}",
    summary="Edit a draft",
    tags=_TAGS,
    operation_id="updatePrivateEndpoint",
    opt=MANAGEMENT,
)
async def update_item(request: Request[Any, Any, Any], context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """Whatever changes clears its validation; another upstream clears declarations that are not repeated."""
    known = await _find(context, id)
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    given = {name: getattr(wanted, name) for name in UpdatePrivateEndpoint.__struct_fields__}
    values = {name: value for name, value in given.items() if value is not UNSET}
    plain("upstream_model_id", wanted.upstream_model_id)
    if "base_url" in values:
        _, provider = described(context, known.model_permaslug, known.provider_slug)
        values["base_url"] = checked_url(provider, values["base_url"])
    return ItemAnswer(_item(context, await context.writer.write(private_endpoints.edit, Edit(id, values, now()))))


@delete(
    "/private-endpoints/{id:str}",
    summary="Delete a private endpoint",
    tags=_TAGS,
    operation_id="deletePrivateEndpoint",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_item(
    context: Context,
    id: str,  # noqa: A002
    draft_only: Annotated[
        Literal["true", "false"] | None, Parameter(description="Refuse to delete what was activated.")
    ] = None,
) -> GoneAnswer:
    """Nothing is routed to it any more."""
    _check(id)
    await context.writer.write(private_endpoints.remove, Removal(id, draft_only == "true"))
    return GoneAnswer(Gone(id))


@post(
    "/private-endpoints/{id:str}/validate",
    summary="Validate a draft",
    tags=_TAGS,
    operation_id="validatePrivateEndpoint",
    status_code=200,
    opt=MANAGEMENT,
)
async def validate_item(request: Request[Any, Any, Any], context: Context, id: str) -> ValidationAnswer:  # noqa: A002
    """Asks it for an embedding, with the workspace's credential for its provider."""
    known = await _find(context, id)
    wanted = await read_small(request, _WORKSPACE, context.settings.body_timeout_s)
    found = await validated(context, known, plain("workspace_id", wanted.workspace_id))
    return ValidationAnswer(ValidationItem(found.passed, list(found.checks)))


@post(
    "/private-endpoints/{id:str}/activate",
    summary="Activate a validated draft",
    tags=_TAGS,
    operation_id="activatePrivateEndpoint",
    status_code=200,
    opt=MANAGEMENT,
)
async def activate_item(request: Request[Any, Any, Any], context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """For the workspace it was validated for. A body with another workspace_id is refused."""
    await _find(context, id)
    workspace = None
    if request.headers.get("content-length", "0") != "0":
        workspace = (await read_small(request, _ACTIVATE, context.settings.body_timeout_s)).workspace_id
    wanted = Activation(id, now(), workspace and plain("workspace_id", workspace))
    return ItemAnswer(_item(context, await context.writer.write(private_endpoints.activate, wanted)))


@post(
    "/private-endpoints/{id:str}/disable",
    summary="Disable a private endpoint",
    tags=_TAGS,
    operation_id="disablePrivateEndpoint",
    status_code=200,
    opt=MANAGEMENT,
)
async def disable_item(context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """Nothing is routed to it until it is enabled."""
    _check(id)
    changed = await context.writer.write(private_endpoints.switch, Switch(id, "disabled", now()))
    return ItemAnswer(_item(context, changed))


@post(
    "/private-endpoints/{id:str}/enable",
    summary="Enable a private endpoint",
    tags=_TAGS,
    operation_id="enablePrivateEndpoint",
    status_code=200,
    opt=MANAGEMENT,
)
async def enable_item(context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """It is routed to again."""
    _check(id)
    changed = await context.writer.write(private_endpoints.switch, Switch(id, "active", now()))
    return ItemAnswer(_item(context, changed))


@put(
    "/private-endpoints/{id:str}/pricing",
    summary="Declare prices",
    tags=_TAGS,
    operation_id="updatePrivateEndpointPricing",
    opt=MANAGEMENT,
)
async def update_pricing(request: Request[Any, Any, Any], context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """All of them at once, also of what is active."""
    await _find(context, id)
    wanted = await read_small(request, _PRICING, context.settings.body_timeout_s)
    pricing = _pricing(wanted.pricing)
    assert pricing is not None
    changed = await context.writer.write(private_endpoints.reprice, Repricing(id, pricing, now()))
    return ItemAnswer(_item(context, changed))


async def _find(context: Context, id_: str) -> PrivateEndpoint:
    _check(id_)
    return await context.database.read(lambda connection: private_endpoints.find(connection, id_))


def _check(id_: str) -> None:
    if not _UUID.fullmatch(id_):
        raise private_endpoints.no_such()


def _pricing(given: PricingBody | None) -> Pricing | None:
    if given is None:
        return None
    for name in PricingBody.__struct_fields__:
        try:
            pico_usd(getattr(given, name) or "0")
        except ValueError as error:
            raise _bad(f"pricing.{name}", str(error)) from error
    return Pricing(**msgspec.structs.asdict(given))


def _item(context: Context, of: PrivateEndpoint) -> Item:
    model = next((m for m in context.gateway.catalog.models if m.canonical_slug == of.model_permaslug), None)
    provider = next((p for p in context.catalog.loaded.providers if p.slug == of.provider_slug), None)
    return Item(
        id=of.id,
        status=of.status,
        model_permaslug=of.model_permaslug,
        model_slug=model.slug if model else None,
        model_name=model.name if model else None,
        provider_name=(provider.name if provider else "") or of.provider_slug,
        provider_slug=provider.slug if provider else None,
        **{name: getattr(of.upstream, name) for name in Upstream.__struct_fields__},
        created_at=iso(of.created_at),
        workspace_id=of.workspace_id,
    )


def _bad(field: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
