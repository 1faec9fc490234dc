"""/presets: named settings of requests. Any key sees those of its workspace; a management key makes them, anywhere."""

import re
from typing import Any, Final, Literal

import msgspec
from litestar import Request, delete, get, post

from embedrouter.accounts import presets, workspaces
from embedrouter.accounts.presets import Of, Preset
from embedrouter.api.auth import ANY_KEY, MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.api.deleted import Deleted
from embedrouter.api.paging import Limit, Offset
from embedrouter.context import Context
from embedrouter.errors import NotFoundError, PermissionDeniedError
from embedrouter.managing import presets as managing
from embedrouter.managing.presets import CreatePreset
from embedrouter.periods import iso

AnyRequest = Request[Any, Any, Any]

_BY_KEY: Final = "key:"  # begins who made it, where that is no user


class PresetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a preset."""

    id: str
    preset_id: str
    version: int
    config: dict[str, Any]
    system_prompt: None = None  # embeddings have none
    creator_id: str
    created_at: str
    updated_at: str


class PresetItem(msgspec.Struct, frozen=True, kw_only=True):
    """A preset."""

    id: str
    slug: str
    name: str
    description: str | None
    workspace_id: str
    creator_user_id: str | None
    designated_version_id: str
    status: Literal["active"] = "active"
    status_updated_at: None = None
    created_at: str
    updated_at: str


class PresetWithVersion(PresetItem, frozen=True, kw_only=True):
    """A preset with its newest version, which counts."""

    designated_version: PresetVersion


class PresetAnswer(msgspec.Struct, frozen=True):
    """One preset."""

    data: PresetWithVersion


class PresetList(msgspec.Struct, frozen=True):
    """A page of presets, the last changed first."""

    data: list[PresetItem]
    total_count: int


class VersionAnswer(msgspec.Struct, frozen=True):
    """One version."""

    data: PresetVersion


class VersionList(msgspec.Struct, frozen=True):
    """A page of versions, the oldest first."""

    data: list[PresetVersion]
    total_count: int


_CREATE: Final = msgspec.json.Decoder(CreatePreset)


@get("/presets", summary="List the presets", tags=["Presets"], operation_id="listPresets", opt=ANY_KEY)
async def list_presets(
    request: AnyRequest, context: Context, offset: Offset = 0, limit: Limit = 50, workspace_id: str | None = None
) -> PresetList:
    """Those of the key's workspace; the last changed first. A management key may name another workspace."""

    def query(connection: Any) -> PresetList:
        of = _workspace(connection, request, workspace_id)
        found = presets.list_presets(connection, of, limit, offset or 0)
        items = [PresetItem(**_fields(one.preset, one.created_at)) for one in found]
        return PresetList(items, presets.count(connection, of))

    return await context.database.read(query)


@get("/presets/{slug:str}", summary="Get a preset", tags=["Presets"], operation_id="getPreset", opt=ANY_KEY)
async def get_preset(request: AnyRequest, context: Context, slug: str, workspace_id: str | None = None) -> PresetAnswer:
    """With its newest version, which counts."""

    def query(connection: Any) -> PresetAnswer:
        return _answer(connection, Of(_workspace(connection, request, workspace_id), slug))

    return await context.database.read(query)


@get(
    "/presets/{slug:str}/versions",
    summary="List a preset's versions",
    tags=["Presets"],
    operation_id="listPresetVersions",
    opt=ANY_KEY,
)
async def list_versions(
    request: AnyRequest,
    context: Context,
    slug: str,
    offset: Offset = 0,
    limit: Limit = 50,
    workspace_id: str | None = None,
) -> VersionList:
    """The oldest first."""

    def query(connection: Any) -> VersionList:
        of = Of(_workspace(connection, request, workspace_id), slug)
        found = presets.versions(connection, of, limit, offset or 0)
        return VersionList([_version(one) for one in found], presets.require(connection, of))

    return await context.database.read(query)


@get(
    "/presets/{slug:str}/versions/{version:str}",
    summary="Get a preset's version",
    tags=["Presets"],
    operation_id="getPresetVersion",
    opt=ANY_KEY,
)
async def get_version(
    request: AnyRequest, context: Context, slug: str, version: str, workspace_id: str | None = None
) -> VersionAnswer:
    """One version by its number."""
    if not re.fullmatch(r"[0-9]{1,6}", version):
        raise NotFoundError("version: versions are numbered from 1", metadata={"field": "version"})

    def query(connection: Any) -> VersionAnswer:
        of = Of(_workspace(connection, request, workspace_id), slug)
        presets.require(connection, of)
        return VersionAnswer(_version(presets.find_version(connection, of, int(version))))

    return await context.database.read(query)


@post(
    "/presets/{slug:str}",
    summary="Make a preset",
    tags=["Presets"],
    operation_id="createPreset",
    opt=MANAGEMENT,
)
async def create_preset(
    request: AnyRequest, context: Context, slug: str, workspace_id: str | None = None
) -> PresetAnswer:
    """Or its next version. Requests of the workspace's keys name it: `@preset/slug`. Beyond OpenRouter."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    of = await context.database.read(lambda connection: _workspace(connection, request, workspace_id))
    key = caller_of(request).key
    await managing.make(context, Of(of, slug), wanted, key.owner_id or _BY_KEY + key.label)
    return await context.database.read(lambda connection: _answer(connection, Of(of, slug)))


@delete(
    "/presets/{slug:str}",
    summary="Delete a preset",
    tags=["Presets"],
    operation_id="deletePreset",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_preset(request: AnyRequest, context: Context, slug: str, workspace_id: str | None = None) -> Deleted:
    """With all its versions. Requests that name it are refused from then on. Beyond OpenRouter."""

    def query(connection: Any) -> Of:
        of = Of(_workspace(connection, request, workspace_id), slug)
        presets.require(connection, of)
        return of

    await managing.remove(context, await context.database.read(query))
    return Deleted(deleted=True)


def _workspace(connection: Any, request: AnyRequest, wanted: str | None) -> str:
    """Whose presets: the key's own workspace's, or for management keys any that they name by id or slug."""
    key = caller_of(request).key
    if wanted in (None, key.workspace_id):
        return key.workspace_id
    if not key.management:
        raise PermissionDeniedError("workspace_id: a key sees the presets of its own workspace; leave it out")
    return workspaces.find(connection, wanted or "").id


def _answer(connection: Any, of: Of) -> PresetAnswer:
    found = presets.find(connection, of)
    return PresetAnswer(
        PresetWithVersion(**_fields(found.preset, found.created_at), designated_version=_version(found.preset))
    )


def _fields(preset: Preset, made_at: int) -> dict[str, Any]:
    """Those of `PresetItem`. made_at: when its first version was made, in microseconds."""
    return {
        "id": preset.id,
        "slug": preset.slug,
        "name": preset.name,
        "description": preset.description,
        "workspace_id": preset.workspace_id,
        "creator_user_id": None if preset.created_by.startswith(_BY_KEY) else preset.created_by,
        "designated_version_id": preset.version_id,
        "created_at": iso(made_at),
        "updated_at": iso(preset.created_at),
    }


def _version(preset: Preset) -> PresetVersion:
    return PresetVersion(
        id=preset.version_id,
        preset_id=preset.id,
        version=preset.version,
        config=msgspec.json.decode(preset.config),
        creator_id=preset.created_by,
        created_at=iso(preset.created_at),
        updated_at=iso(preset.created_at),
    )
