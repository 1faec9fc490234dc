"""/guardrails/.../assignments: which keys have which guardrail. With a management key. Members have none."""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, get, post
from msgspec import Meta

from embedrouter.accounts import guardrails
from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.api.paging import Limit, Offset
from embedrouter.context import Context
from embedrouter.errors import InvalidRequestError
from embedrouter.managing import guardrails as managing
from embedrouter.periods import iso

AnyRequest = Request[Any, Any, Any]


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the routes that assign keys."""

    key_hashes: Annotated[
        list[Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]], Meta(min_length=1, max_length=500)
    ]


class KeyAssignment(msgspec.Struct, frozen=True, kw_only=True):
    """A key and its guardrail."""

    id: str
    guardrail_id: str
    key_hash: str
    key_name: str
    key_label: str
    assigned_by: str | None
    created_at: str


class AssignmentList(msgspec.Struct, frozen=True):
    """A page of assignments, the newest first."""

    data: list[KeyAssignment]
    total_count: int


class Assigned(msgspec.Struct, frozen=True):
    """How many keys have the guardrail now."""

    assigned_count: int


class Unassigned(msgspec.Struct, frozen=True):
    """How many keys had the guardrail and have it no more."""

    unassigned_count: int


class NoMembers(msgspec.Struct, frozen=True):
    """Guardrails are for keys: members have none."""

    data: list[KeyAssignment]
    total_count: Literal[0] = 0


_KEYS: Final = msgspec.json.Decoder(Keys)


@get(
    "/guardrails/assignments/keys",
    summary="List the keys of all guardrails",
    tags=["Guardrails"],
    operation_id="listKeyAssignments",
    opt=MANAGEMENT,
)
async def list_all_keys(context: Context, offset: Offset = 0, limit: Limit = 50) -> AssignmentList:
    """The newest assignment first."""
    return await context.database.read(lambda connection: _assignments(connection, None, limit, offset or 0))


@get(
    "/guardrails/{id:str}/assignments/keys",
    summary="List the keys of a guardrail",
    tags=["Guardrails"],
    operation_id="listGuardrailKeyAssignments",
    opt=MANAGEMENT,
)
async def list_keys(context: Context, id: str, offset: Offset = 0, limit: Limit = 50) -> AssignmentList:  # noqa: A002
    """The newest assignment first."""

    def query(connection: Any) -> AssignmentList:
        return _assignments(connection, guardrails.find(connection, id).id, limit, offset or 0)

    return await context.database.read(query)


@post(
    "/guardrails/{id:str}/assignments/keys",
    summary="Assign keys to a guardrail",
    tags=["Guardrails"],
    operation_id="bulkAssignKeysToGuardrail",
    status_code=200,
    opt=MANAGEMENT,
)
async def assign_keys(request: AnyRequest, context: Context, id: str) -> Assigned:  # noqa: A002
    """A key has one guardrail: this one takes the place of the one it had."""
    assigned = await managing.assign(context, id, await _hashes(request, context), _by(request))
    return Assigned(assigned)


@post(
    "/guardrails/{id:str}/assignments/keys/remove",
    summary="Take keys from a guardrail",
    tags=["Guardrails"],
    operation_id="bulkUnassignKeysFromGuardrail",
    status_code=200,
    opt=MANAGEMENT,
)
async def unassign_keys(request: AnyRequest, context: Context, id: str) -> Unassigned:  # noqa: A002
    """Keys that have another guardrail keep it."""
    hashes = await _hashes(request, context)
    unassigned = await managing.assign(context, id, hashes, _by(request), to="lose")
    return Unassigned(unassigned)


@get(
    "/guardrails/assignments/members",
    summary="List the members of all guardrails",
    tags=["Guardrails"],
    operation_id="listMemberAssignments",
    opt=MANAGEMENT,
)
async def list_all_members() -> NoMembers:
    """None: guardrails are assigned to keys."""
    return NoMembers([])


@get(
    "/guardrails/{id:str}/assignments/members",
    summary="List the members of a guardrail",
    tags=["Guardrails"],
    operation_id="listGuardrailMemberAssignments",
    opt=MANAGEMENT,
)
async def list_members(context: Context, id: str) -> NoMembers:  # noqa: A002
    """None: guardrails are assigned to keys."""
    await context.database.read(lambda connection: guardrails.find(connection, id))
    return NoMembers([])


@post(
    ["/guardrails/{id:str}/assignments/members", "/guardrails/{id:str}/assignments/members/remove"],
    summary="Assign members to a guardrail",
    tags=["Guardrails"],
    operation_id="bulkAssignMembersToGuardrail",
    status_code=200,
    include_in_schema=False,
    opt=MANAGEMENT,
)
async def assign_members(context: Context, id: str) -> None:  # noqa: A002
    """Refused."""
    await context.database.read(lambda connection: guardrails.find(connection, id))
    raise InvalidRequestError("guardrails are assigned to API keys only: POST /guardrails/{id}/assignments/keys")


async def _hashes(request: AnyRequest, context: Context) -> list[str]:
    return (await read_small(request, _KEYS, context.settings.body_timeout_s)).key_hashes


def _by(request: AnyRequest) -> str:
    key = caller_of(request).key
    return key.owner_id or f"key:{key.label}"


def _assignments(connection: Any, of: str | None, limit: int, offset: int) -> AssignmentList:
    found = [
        KeyAssignment(
            id=one.id,
            guardrail_id=one.guardrail_id,
            key_hash=one.key_hash,
            key_name=one.key_name,
            key_label=one.key_label,
            assigned_by=one.assigned_by,
            created_at=iso(one.created_at),
        )
        for one in guardrails.assignments(connection, of, limit, offset)
    ]
    return AssignmentList(found, guardrails.count_assignments(connection, of))
