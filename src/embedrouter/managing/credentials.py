"""Providers' credentials: what may be said of one, added, changed and removed. A secret is written, and never told."""

import asyncio
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts import credentials
from embedrouter.accounts.credentials import CredentialChange, Move, NewCredential, Region, StoredCredential
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.sealing import Secret
from embedrouter.catalog.load import provider_of as made_of
from embedrouter.catalog.models import Provider
from embedrouter.context import Context
from embedrouter.errors import NotFoundError, nearest
from embedrouter.fields import bad_field, plain, sent
from embedrouter.ledger.book import now

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


async def add(context: Context, wanted: CreateByok, by: str) -> StoredCredential:
    """Sealed before it is kept. Holds from the next request on; in other processes within 2 s."""
    workspace = WORKSPACE if wanted.workspace_id is UNSET else wanted.workspace_id
    new = NewCredential(
        sealer=context.credentials.sealer,
        id=str(uuid.uuid4()),
        provider=provider_of(context, "provider", wanted.provider).slug,
        secret=_secret(wanted.key),
        at=now(),
        created_by=by,
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
    return made


async def find(context: Context, id_: str) -> StoredCredential:
    """Raises NotFoundError."""
    if not _UUID.fullmatch(id_):
        raise credentials.no_such()
    return await context.database.read(lambda connection: credentials.find(connection, id_))


async def change(context: Context, id_: str, wanted: UpdateByok) -> StoredCredential:
    """With `key`, the secret is replaced. Holds from the next request on; in other processes within 2 s."""
    values = sent(wanted, "key")
    if values.get("name") is not None:
        plain("name", values["name"])
    if "allowed_models" in values:
        values["allowed_models"] = _models(context, values["allowed_models"])
    _users(values.get("allowed_user_ids"))
    secret = None if wanted.key is UNSET else _secret(wanted.key)
    known = await find(context, id_)
    if not values and secret is None:
        return known
    written = CredentialChange(context.credentials.sealer, id_, values, now(), secret)
    changed = await context.writer.write(credentials.change, written)
    await take_in(context)
    if secret is not None:
        context.gateway.health.lift_credential(id_)  # what was refused was the secret before
    return changed


async def move(context: Context, id_: str, *, earlier: bool) -> None:
    """One place among its provider's. Raises NotFoundError."""
    await find(context, id_)
    await context.writer.write(credentials.move, Move(id_, earlier, now()))
    await take_in(context)


async def remove(context: Context, id_: str) -> None:
    """It is gone, with what was sealed. Raises NotFoundError."""
    await find(context, id_)
    await context.writer.write(credentials.remove, id_)
    await take_in(context)


def provider_of(context: Context, field: str, slug: str) -> Provider:
    """A provider of the catalog, served or not. Raises InvalidRequestError naming it."""
    known = {one.slug: one for one in context.catalog.loaded.providers}
    found = known.get(slug)
    if found is None:
        raise bad_field(field, no_provider(slug, known))
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
        raise bad_field("key", "must be a text without control characters")
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
        raise bad_field("allowed_models", error.message) from error


def _users(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else [plain("allowed_user_ids", one) for one in ids]
