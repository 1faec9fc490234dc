"""/guardrails: what keys may use and spend. With a management key."""

from typing import Any, Final

import msgspec
from litestar import Request, delete, get, patch, post

from embedrouter.accounts import guardrails, workspaces
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.guardrails import Guardrail, Rules
from embedrouter.api.auth import MANAGEMENT
from embedrouter.api.body import read_small
from embedrouter.api.deleted import Deleted
from embedrouter.api.paging import Limit, Offset
from embedrouter.context import Context
from embedrouter.managing import guardrails as managing
from embedrouter.managing.guardrails import CreateGuardrail, UpdateGuardrail
from embedrouter.money import usd
from embedrouter.periods import RESET_OF, Reset, iso

AnyRequest = Request[Any, Any, Any]


class GuardrailItem(Rules, frozen=True, kw_only=True, omit_defaults=False):
    """A guardrail."""

    id: str
    workspace_id: str
    name: str
    limit_usd: float | None
    reset_interval: Reset | None
    include_byok_in_budgets: bool
    content_filters: list[str] | None = None
    content_filter_builtins: list[str] | None = None
    allowed_data_regions: list[str] | None = None
    created_at: str
    updated_at: str | None


class GuardrailAnswer(msgspec.Struct, frozen=True):
    """One guardrail."""

    data: GuardrailItem


class GuardrailList(msgspec.Struct, frozen=True):
    """A page of guardrails, the newest first."""

    data: list[GuardrailItem]
    total_count: int


_CREATE: Final = msgspec.json.Decoder(CreateGuardrail)
_UPDATE: Final = msgspec.json.Decoder(UpdateGuardrail)


@get("/guardrails", summary="List the guardrails", tags=["Guardrails"], operation_id="listGuardrails", opt=MANAGEMENT)
async def list_guardrails(
    context: Context, offset: Offset = 0, limit: Limit = 50, workspace_id: str | None = None
) -> GuardrailList:
    """Those of a workspace, or of the default one; the newest first."""

    def query(connection: Any) -> GuardrailList:
        of = workspaces.find(connection, workspace_id or WORKSPACE).id
        found = guardrails.list_guardrails(connection, of, limit, offset or 0)
        return GuardrailList([_item(one) for one in found], guardrails.count(connection, of))

    return await context.database.read(query)


@post("/guardrails", summary="Make a guardrail", tags=["Guardrails"], operation_id="createGuardrail", opt=MANAGEMENT)
async def create_guardrail(request: AnyRequest, context: Context) -> GuardrailAnswer:
    """It enforces nothing before it is assigned to keys. A workspace's default guardrail holds for all its keys."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    return GuardrailAnswer(_item(await managing.create(context, wanted)))


@get(
    "/guardrails/{id:str}", summary="Get a guardrail", tags=["Guardrails"], operation_id="getGuardrail", opt=MANAGEMENT
)
async def get_guardrail(context: Context, id: str) -> GuardrailAnswer:  # noqa: A002 (the path's own name)
    """One guardrail; a workspace's default one once it was configured."""
    return GuardrailAnswer(_item(await managing.find(context, id)))


@patch(
    "/guardrails/{id:str}",
    summary="Change a guardrail",
    tags=["Guardrails"],
    operation_id="updateGuardrail",
    opt=MANAGEMENT,
)
async def update_guardrail(request: AnyRequest, context: Context, id: str) -> GuardrailAnswer:  # noqa: A002
    """Or configure a workspace's default one. Lists are replaced whole. Other processes follow within 2 s."""
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    return GuardrailAnswer(_item(await managing.change(context, id, wanted)))


@delete(
    "/guardrails/{id:str}",
    summary="Delete a guardrail",
    tags=["Guardrails"],
    operation_id="deleteGuardrail",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_guardrail(context: Context, id: str) -> Deleted:  # noqa: A002
    """Its keys have none then."""
    await managing.remove(context, id)
    return Deleted(deleted=True)


def _item(of: Guardrail) -> GuardrailItem:
    return GuardrailItem(
        **{name: getattr(of.rules, name) for name in Rules.__struct_fields__},
        id=of.id,
        workspace_id=of.workspace_id,
        name=of.name,
        limit_usd=None if of.limit_pico is None else usd(of.limit_pico),
        reset_interval=None if of.limit_reset is None else RESET_OF[of.limit_reset],
        include_byok_in_budgets=of.include_byok_in_budgets,
        created_at=iso(of.created_at),
        updated_at=None if of.updated_at == of.created_at else iso(of.updated_at),
    )
