"""/byok: providers' credentials. With a management key. A credential is written, and never told."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.params import Parameter

from embedrouter.accounts import credentials
from embedrouter.accounts.credentials import CredentialFilter, Region, StoredCredential
from embedrouter.accounts.first import WORKSPACE
from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.api.deleted import Deleted
from embedrouter.context import Context
from embedrouter.fields import plain
from embedrouter.managing import credentials as managing
from embedrouter.managing.credentials import CreateByok, UpdateByok, provider_of
from embedrouter.periods import iso


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
    return ByokAnswer(_item(await managing.add(context, wanted, f"key:{caller_of(request).key.label}")))


@get("/byok/{id:str}", summary="Get a credential", tags=["BYOK"], operation_id="getBYOKKey", opt=MANAGEMENT)
async def get_byok(context: Context, id: str) -> ByokAnswer:  # noqa: A002 (the path's own name)
    """One credential by its id."""
    return ByokAnswer(_item(await managing.find(context, id)))


@patch("/byok/{id:str}", summary="Change a credential", tags=["BYOK"], operation_id="updateBYOKKey", opt=MANAGEMENT)
async def update_byok(request: Request[Any, Any, Any], context: Context, id: str) -> ByokAnswer:  # noqa: A002
    """With `key`, the secret is replaced. Holds from the next request on; in other processes within 2 s."""
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    return ByokAnswer(_item(await managing.change(context, id, wanted)))


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
    await managing.remove(context, id)
    return Deleted(deleted=True)


def _item(of: StoredCredential) -> ByokItem:
    told = {name: getattr(of, name) for name in ByokItem.__struct_fields__ if name != "created_at"}
    return ByokItem(**told, created_at=iso(of.created_at))
