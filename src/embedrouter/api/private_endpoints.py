"""/private-endpoints: a deployment of one's own as an endpoint of a model. With a management key."""

import hashlib
import re
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from litestar import Request, Response, delete, get, patch, post, put
from litestar.params import HeaderParameter, QueryParameter

from embedrouter.accounts import private_endpoints
from embedrouter.accounts.private_endpoints import PrivateEndpoint, Upstream
from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.api.problems import envelope
from embedrouter.context import Context
from embedrouter.errors import EmbedRouterError, UnprocessableError
from embedrouter.fields import bad_field, plain
from embedrouter.managing import private_endpoints as managing
from embedrouter.managing.private_bodies import (
    ActivatePrivateEndpoint,
    CreatePrivateEndpoint,
    ForWorkspace,
    Gone,
    GoneAnswer,
    Item,
    ItemAnswer,
    ItemList,
    UpdatePricing,
    UpdatePrivateEndpoint,
    ValidationAnswer,
    ValidationItem,
)
from embedrouter.managing.validating import validated
from embedrouter.periods import iso

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
        HeaderParameter(
            name="Idempotency-Key",
            description="1 to 255 printable ASCII characters; a repeated key gives what it made the first time.",
        ),
    ] = None,
) -> Response[Any]:
    """A draft is not routable before it is validated and activated; `activate` does both at once."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise bad_field("Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    compared = orjson.dumps([msgspec.to_builtins(getattr(wanted, name)) for name in _COMPARED])
    marks = None if idempotency_key is None else (idempotency_key, hashlib.sha256(compared).hexdigest())
    made = await managing.draft(context, wanted, f"key:{caller_of(request).key.label}", marks)
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
        active = await managing.activate(context, made.id)
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
    return ItemAnswer(_item(context, await managing.find(context, id)))


@patch(
    "/private-endpoints/{id:str}",
    summary="Edit a draft",
    tags=_TAGS,
    operation_id="updatePrivateEndpoint",
    opt=MANAGEMENT,
)
async def update_item(request: Request[Any, Any, Any], context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """Whatever changes clears its validation; another upstream clears declarations that are not repeated."""
    await managing.find(context, id)
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    return ItemAnswer(_item(context, await managing.edit(context, id, wanted)))


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
        Literal["true", "false"] | None, QueryParameter(description="Refuse to delete what was activated.")
    ] = None,
) -> GoneAnswer:
    """Nothing is routed to it any more."""
    await managing.remove(context, id, draft_only=draft_only == "true")
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
    known = await managing.find(context, id)
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
    await managing.find(context, id)
    workspace = None
    if request.headers.get("content-length", "0") != "0":
        workspace = (await read_small(request, _ACTIVATE, context.settings.body_timeout_s)).workspace_id
    return ItemAnswer(
        _item(context, await managing.activate(context, id, workspace and plain("workspace_id", workspace)))
    )


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
    return ItemAnswer(_item(context, await managing.switch(context, id, "disabled")))


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
    return ItemAnswer(_item(context, await managing.switch(context, id, "active")))


@put(
    "/private-endpoints/{id:str}/pricing",
    summary="Declare prices",
    tags=_TAGS,
    operation_id="updatePrivateEndpointPricing",
    opt=MANAGEMENT,
)
async def update_pricing(request: Request[Any, Any, Any], context: Context, id: str) -> ItemAnswer:  # noqa: A002
    """All of them at once, also of what is active."""
    await managing.find(context, id)
    wanted = await read_small(request, _PRICING, context.settings.body_timeout_s)
    return ItemAnswer(_item(context, await managing.reprice(context, id, wanted.pricing)))


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
