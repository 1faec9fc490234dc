"""/workspaces: groups of keys with budgets and rules of their own. With a management key."""

import uuid
from typing import Any, Final, Literal

import msgspec
from litestar import Request, delete, get, patch, post

from embedrouter.accounts import users, workspaces
from embedrouter.accounts.guardrails import default_id
from embedrouter.accounts.workspaces import Sort, Workspace
from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.api.deleted import Deleted
from embedrouter.api.paging import Limit, Offset
from embedrouter.context import Context
from embedrouter.errors import InvalidRequestError
from embedrouter.managing import workspaces as managing
from embedrouter.managing.workspaces import CreateWorkspace, UpdateWorkspace
from embedrouter.periods import iso

AnyRequest = Request[Any, Any, Any]

_IDS: Final = uuid.UUID("b0f6a7f0-6a43-4f0c-9a6a-33f4b2a5a9c1")  # of ids that are derived from others
_EVERYBODY: Final = "every user of this server belongs to every workspace: members are neither added nor removed"


class WorkspaceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace. Prompts are logged nowhere, so what says so is always off."""

    id: str
    name: str
    slug: str
    description: str | None
    default_text_model: str | None
    default_image_model: str | None
    default_provider_sort: Sort | None
    default_guardrail_id: str
    include_byok_in_budgets: bool
    io_logging_api_key_ids: list[int] | None = None
    io_logging_sampling_rate: float = 1.0
    is_data_discount_logging_enabled: bool = False
    is_observability_broadcast_enabled: bool = False
    is_observability_io_logging_enabled: bool = False
    created_at: str
    created_by: str | None
    updated_at: str | None
    in_rankings: bool  # beyond OpenRouter


class WorkspaceAnswer(msgspec.Struct, frozen=True):
    """One workspace."""

    data: WorkspaceItem


class WorkspaceList(msgspec.Struct, frozen=True):
    """A page of workspaces, the oldest first."""

    data: list[WorkspaceItem]
    total_count: int


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A user of this server, who belongs to every workspace."""

    id: str
    workspace_id: str
    user_id: str
    role: Literal["admin", "member"]
    created_at: str


class MemberList(msgspec.Struct, frozen=True):
    """A page of members, the oldest first."""

    data: list[Member]
    total_count: int


_CREATE: Final = msgspec.json.Decoder(CreateWorkspace)
_UPDATE: Final = msgspec.json.Decoder(UpdateWorkspace)


@get("/workspaces", summary="List the workspaces", tags=["Workspaces"], operation_id="listWorkspaces", opt=MANAGEMENT)
async def list_workspaces(context: Context, offset: Offset = 0, limit: Limit = 50) -> WorkspaceList:
    """The oldest first."""

    def query(connection: Any) -> WorkspaceList:
        found = workspaces.list_workspaces(connection, limit, offset or 0)
        return WorkspaceList([_item(one) for one in found], workspaces.count(connection))

    return await context.database.read(query)


@post("/workspaces", summary="Make a workspace", tags=["Workspaces"], operation_id="createWorkspace", opt=MANAGEMENT)
async def create_workspace(request: AnyRequest, context: Context) -> WorkspaceAnswer:
    """Keys are put into it with POST /keys or PATCH /keys/{hash}."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    return WorkspaceAnswer(_item(await managing.create(context, wanted, caller_of(request).key.owner_id)))


@get(
    "/workspaces/{id:str}", summary="Get a workspace", tags=["Workspaces"], operation_id="getWorkspace", opt=MANAGEMENT
)
async def get_workspace(context: Context, id: str) -> WorkspaceAnswer:  # noqa: A002 (the path's own name)
    """One workspace by its id or slug."""
    return WorkspaceAnswer(_item(await context.database.read(lambda connection: workspaces.find(connection, id))))


@patch(
    "/workspaces/{id:str}",
    summary="Change a workspace",
    tags=["Workspaces"],
    operation_id="updateWorkspace",
    opt=MANAGEMENT,
)
async def update_workspace(request: AnyRequest, context: Context, id: str) -> WorkspaceAnswer:  # noqa: A002
    """Holds from the next request on; in other processes on the same database within 2 s."""
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    return WorkspaceAnswer(_item(await managing.change(context, id, wanted)))


@delete(
    "/workspaces/{id:str}",
    summary="Delete a workspace",
    tags=["Workspaces"],
    operation_id="deleteWorkspace",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_workspace(context: Context, id: str) -> Deleted:  # noqa: A002
    """With its budgets, guardrails and presets. Not while it has keys; what they spent stays in the ledger."""
    await context.writer.write(workspaces.remove, id)
    await context.refresh()
    return Deleted(deleted=True)


@get(
    "/workspaces/{id:str}/members",
    summary="List a workspace's members",
    tags=["Workspaces"],
    operation_id="listWorkspaceMembers",
    opt=MANAGEMENT,
)
async def list_members(context: Context, id: str, offset: Offset = 0, limit: Limit = 50) -> MemberList:  # noqa: A002
    """The users of this server: all belong to every workspace."""

    def query(connection: Any) -> MemberList:
        of = workspaces.find(connection, id).id
        found = users.list_users(connection, limit=1_000_000)
        start = offset or 0
        shown = [
            Member(
                id=str(uuid.uuid5(_IDS, f"member {of} {user.id}")),
                workspace_id=of,
                user_id=user.id,
                role=user.role,
                created_at=iso(user.created_at),
            )
            for user in found[start : start + limit]
        ]
        return MemberList(shown, len(found))

    return await context.database.read(query)


@post(
    "/workspaces/{id:str}/members/add",
    summary="Add members to a workspace",
    tags=["Workspaces"],
    operation_id="bulkAddWorkspaceMembers",
    status_code=200,
    opt=MANAGEMENT,
)
async def add_members(context: Context, id: str) -> None:  # noqa: A002
    """Refused: every user belongs to every workspace."""
    await context.database.read(lambda connection: workspaces.find(connection, id))
    raise InvalidRequestError(_EVERYBODY)


@post(
    "/workspaces/{id:str}/members/remove",
    summary="Remove members from a workspace",
    tags=["Workspaces"],
    operation_id="bulkRemoveWorkspaceMembers",
    status_code=200,
    opt=MANAGEMENT,
)
async def remove_members(context: Context, id: str) -> None:  # noqa: A002
    """Refused: every user belongs to every workspace."""
    await context.database.read(lambda connection: workspaces.find(connection, id))
    raise InvalidRequestError(_EVERYBODY)


def _item(of: Workspace) -> WorkspaceItem:
    kept = of.preferences
    return WorkspaceItem(
        id=of.id,
        name=of.name,
        slug=of.slug,
        description=kept.description,
        default_text_model=kept.default_text_model,
        default_image_model=kept.default_image_model,
        default_provider_sort=kept.default_provider_sort,
        default_guardrail_id=default_id(of.id),
        include_byok_in_budgets=of.include_byok_in_budgets,
        created_at=iso(of.created_at),
        created_by=kept.created_by,
        updated_at=None if of.updated_at == of.created_at else iso(of.updated_at),
        in_rankings=of.in_rankings,
    )
