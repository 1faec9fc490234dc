"""/byok: providers' credentials. With a management key. A credential is written, and never told."""

import asyncio
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.params import Parameter
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts import credentials
from embedrouter.accounts.credentials import (
    CredentialChange,
    CredentialFilter,
    NewCredential,
    Region,
    StoredCredential,
)
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.sealing import Secret
from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import plain, read_small
from embedrouter.api.context import Context
from embedrouter.catalog.load import provider_of as made_of
from embedrouter.catalog.models import Provider
from embedrouter.errors import InvalidRequestError, NotFoundError, nearest
from embedrouter.ledger.book import now
from embedrouter.periods import iso

Slug = Annotated[str, Meta(min_length=1, max_length=100)]
Key = Annotated[str, Meta(min_length=1, max_length=16_384, description="Write-only")]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Models = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=100)]
Hashes = Annotated[list[Annotated[str, Meta(pattern="^[a-f0-9]{64}$")]], Meta(min_length=1, max_length=100)]
Users = Annotated[list[Annotated[str, Meta(min_length=1, max_length=40)]], Meta(max_length=100)]
Id = Annotated[str, Meta(min_length=1, max_length=40)]

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class CreateByok(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /byok. workspace_id: the default one if left out; null: all."""

    provider: Slug
    key: Key
    name: Name | None = None
    disabled: bool | None = None
    is_fallback: bool | None = None
    is_required: bool | None = None
    is_byok_only: bool | None = None
    workspace_id: Id | UnsetType | None = UNSET
    allowed_models: Models | None = None
    allowed_api_key_hashes: Hashes | None = None
    allowed_user_ids: Users | None = None
    declared_region: Region | None = None
    declared_zdr: bool | None = None


class UpdateByok(msgspec.Struct, frozen=True, kw_only=True):
    """The body of PATCH /byok/{id}: what is left out stays; null takes a restriction or a declaration away."""

    key: Key | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET
    is_fallback: bool | UnsetType = UNSET
    is_required: bool | UnsetType = UNSET
    is_byok_only: bool | UnsetType = UNSET
    allowed_models: Models | UnsetType | None = UNSET
    allowed_api_key_hashes: Hashes | UnsetType | None = UNSET
    allowed_user_ids: Users | UnsetType | None = UNSET
    declared_region: Region | UnsetType | None = UNSET
    declared_zdr: bool | UnsetType | None = UNSET


class ByokItem(msgspec.Struct, frozen=True, kw_only=True):
    """A credential. Never its secret."""

    id: str
    provider: str
    label: str
    name: str | None
    disabled: bool
    is_fallback: bool
    is_required: bool
    is_byok_only: bool
    sort_order: int
    workspace_id: str | None
    allowed_models: Sequence[str] | None
    allowed_api_key_hashes: Sequence[str] | None
    allowed_user_ids: Sequence[str] | None
    declared_region: Region | None
    declared_zdr: bool | None
    created_at: str


class ByokAnswer(msgspec.Struct, frozen=True):
    """One credential."""

    data: ByokItem


class ByokList(msgspec.Struct, frozen=True):
    """A page of credentials, by provider and then in the order they are tried in."""

    data: list[ByokItem]
    total_count: int


class Deleted(msgspec.Struct, frozen=True):
    """What DELETE answers."""

    deleted: bool


_CREATE: Final = msgspec.json.Decoder(CreateByok)
_UPDATE: Final = msgspec.json.Decoder(UpdateByok)


@get("/byok", summary="List the providers' credentials", tags=["BYOK"], operation_id="listBYOKKeys", opt=MANAGEMENT)
async def list_byok(
    context: Context,
    offset: Annotated[int, Parameter(ge=0, le=1_000_000, description="Credentials to pass over.")] = 0,
    limit: Annotated[int, Parameter(ge=1, le=100, description="Credentials to return at most.")] = 50,
    workspace_id: Annotated[str | None, Parameter(max_length=40, description="If left out: the default one.")] = None,
    provider: Annotated[str | None, Parameter(max_length=100, description="Of this provider only.")] = None,
) -> ByokList:
    """Those of a workspace, and those of all workspaces."""
    wanted = CredentialFilter(
        workspace_id=WORKSPACE if workspace_id is None else plain("workspace_id", workspace_id),
        provider=None if provider is None else provider_of(context, "provider", provider).slug,
        limit=limit,
        offset=offset,
    )

    def query(connection: Any) -> ByokList:
        found = credentials.list_credentials(connection, wanted)
        return ByokList([_item(one) for one in found], credentials.count(connection, wanted))

    return await context.database.read(query)


@post("/byok", summary="Add a provider's credential", tags=["BYOK"], operation_id="createBYOKKey", opt=MANAGEMENT)
async def create_byok(request: Request[Any, Any, Any], context: Context) -> ByokAnswer:
    """Sealed before it is kept. Holds from the next request on; in other processes within 2 s."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    workspace = WORKSPACE if wanted.workspace_id is UNSET else wanted.workspace_id
    new = NewCredential(
        sealer=context.credentials.sealer,
        id=str(uuid.uuid4()),
        provider=provider_of(context, "provider", wanted.provider).slug,
        secret=_secret(wanted.key),
        at=now(),
        created_by=f"key:{caller_of(request).key.label}",
        workspace_id=workspace and plain("workspace_id", workspace),
        name=wanted.name and plain("name", wanted.name),
        disabled=wanted.disabled or False,
        is_fallback=wanted.is_fallback or False,
        is_required=wanted.is_required or False,
        is_byok_only=wanted.is_byok_only or False,
        allowed_models=_models(context, wanted.allowed_models),
        allowed_api_key_hashes=wanted.allowed_api_key_hashes,
        allowed_user_ids=_users(wanted.allowed_user_ids),
        declared_region=wanted.declared_region,
        declared_zdr=wanted.declared_zdr,
    )
    made = await context.writer.write(credentials.add, new)
    await take_in(context)
    return ByokAnswer(_item(made))


@get("/byok/{id:str}", summary="Get a credential", tags=["BYOK"], operation_id="getBYOKKey", opt=MANAGEMENT)
async def get_byok(context: Context, id: str) -> ByokAnswer:  # noqa: A002 (the path's own name)
    """One credential by its id."""
    _check(id)
    return ByokAnswer(_item(await context.database.read(lambda connection: credentials.find(connection, id))))


@patch("/byok/{id:str}", summary="Change a credential", tags=["BYOK"], operation_id="updateBYOKKey", opt=MANAGEMENT)
async def update_byok(request: Request[Any, Any, Any], context: Context, id: str) -> ByokAnswer:  # noqa: A002
    """With `key`, the secret is replaced. Holds from the next request on; in other processes within 2 s."""
    _check(id)
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    given = {name: getattr(wanted, name) for name in UpdateByok.__struct_fields__ if name != "key"}
    values = {name: value for name, value in given.items() if value is not UNSET}
    if values.get("name") is not None:
        plain("name", values["name"])
    if "allowed_models" in values:
        values["allowed_models"] = _models(context, values["allowed_models"])
    _users(values.get("allowed_user_ids"))
    secret = None if wanted.key is UNSET else _secret(wanted.key)
    if not values and secret is None:
        return ByokAnswer(_item(await context.database.read(lambda connection: credentials.find(connection, id))))
    change = CredentialChange(context.credentials.sealer, id, values, now(), secret)
    changed = await context.writer.write(credentials.change, change)
    await take_in(context)
    if secret is not None:
        context.gateway.health.lift_credential(id)  # what was refused was the secret before
    return ByokAnswer(_item(changed))


@delete(
    "/byok/{id:str}",
    summary="Remove a credential",
    tags=["BYOK"],
    operation_id="deleteBYOKKey",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_byok(context: Context, id: str) -> Deleted:  # noqa: A002
    """It is gone, with what was sealed."""
    _check(id)
    await context.writer.write(credentials.remove, id)
    await take_in(context)
    return Deleted(deleted=True)


def provider_of(context: Context, field: str, slug: str) -> Provider:
    """A provider of the catalog, served or not. Raises InvalidRequestError naming it."""
    known = {one.slug: one for one in context.catalog.loaded.providers}
    found = known.get(slug)
    if found is None:
        raise InvalidRequestError(f"{field}: {no_provider(slug, known)}", metadata={"field": field})
    return made_of(found)


def no_provider(slug: str, known: Iterable[str]) -> str:
    """What to tell. What does not look like a slug is not repeated: it may be a key in the wrong place."""
    shown = f'provider "{slug}"' if _SLUG.fullmatch(slug) else "such provider"
    return f"the catalog has no {shown}{nearest(slug[:40], list(known))}"


async def take_in(context: Context) -> None:
    """What was just written is in memory before it is answered."""
    await asyncio.to_thread(context.credentials.load)
    await asyncio.to_thread(context.catalog.reload)  # a provider's first credential is what its endpoints wait for


def _secret(key: str) -> Secret:
    """Header-safe, or several lines of JSON. Raises InvalidRequestError, which shows nothing of it."""
    text = key.strip()
    if not text or any(character < " " and character not in "\r\n\t" for character in text):
        raise InvalidRequestError("key: must be a text without control characters", metadata={"field": "key"})
    return Secret(text)


def _models(context: Context, names: Sequence[str] | None) -> list[str] | None:
    """By their slugs. Raises InvalidRequestError for a model that the catalog does not have, served or not."""
    return None if names is None else list(dict.fromkeys(_model(context, one) for one in names))


def _model(context: Context, name: str) -> str:
    listed = {one.key.lower(): one.key for one in context.catalog.loaded.listed if one.kind == "model"}
    if name.lower() in listed:
        return listed[name.lower()]
    try:
        return context.gateway.catalog.find(name).slug
    except NotFoundError as error:
        raise InvalidRequestError(f"allowed_models: {error.message}", metadata={"field": "allowed_models"}) from error


def _users(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else [plain("allowed_user_ids", one) for one in ids]


def _check(id_: str) -> None:
    if not _UUID.fullmatch(id_):
        raise credentials.no_such()


def _item(of: StoredCredential) -> ByokItem:
    told = {name: getattr(of, name) for name in ByokItem.__struct_fields__ if name != "created_at"}
    return ByokItem(**told, created_at=iso(of.created_at))
