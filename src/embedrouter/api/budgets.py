"""/workspaces/{id}/budgets: what a workspace may spend. With a management key."""

import uuid
from typing import Any, Final

import msgspec
from litestar import Request, delete, get, put

from embedrouter.accounts import workspaces
from embedrouter.accounts.workspaces import Budget, Workspace
from embedrouter.api.auth import MANAGEMENT
from embedrouter.api.body import read_small
from embedrouter.api.deleted import Deleted
from embedrouter.context import Context
from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.managing import budgets as managing
from embedrouter.managing.budgets import SetBudget
from embedrouter.money import usd
from embedrouter.periods import INTERVALS, RESET_OF, Interval, Reset, iso

_IDS: Final = uuid.UUID("4b0f0b0e-5a39-4c7b-93c5-6d6f1f3c7f02")  # of ids that are derived from others


class WorkspaceBudget(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace may spend in a period; null is its whole life."""

    id: str
    workspace_id: str
    limit_usd: float
    reset_interval: Reset | None
    created_at: str
    updated_at: str
    # Beyond OpenRouter, in USD of the period that runs.
    spend_usd: float
    remaining_usd: float


class BudgetAnswer(msgspec.Struct, frozen=True):
    """One budget."""

    data: WorkspaceBudget
    include_byok_in_budgets: bool


class BudgetList(msgspec.Struct, frozen=True):
    """A workspace's budgets, the shortest period first."""

    data: list[WorkspaceBudget]
    include_byok_in_budgets: bool


_BUDGET: Final = msgspec.json.Decoder(SetBudget)


@get(
    "/workspaces/{id:str}/budgets",
    summary="List a workspace's budgets",
    tags=["Workspaces"],
    operation_id="listWorkspaceBudgets",
    opt=MANAGEMENT,
)
async def list_budgets(context: Context, id: str) -> BudgetList:  # noqa: A002
    """The shortest period first."""
    return await _budgets(context, id)


@get(
    "/workspaces/{id:str}/budgets/{interval:str}",
    summary="Get a workspace's budget",
    tags=["Workspaces"],
    operation_id="getWorkspaceBudget",
    opt=MANAGEMENT,
)
async def get_budget(context: Context, id: str, interval: str) -> BudgetAnswer:  # noqa: A002
    """What it may spend daily, weekly, monthly, or in its lifetime."""
    return await _budget(context, id, _interval(interval))


@put(
    "/workspaces/{id:str}/budgets/{interval:str}",
    summary="Set a workspace's budget",
    tags=["Workspaces"],
    operation_id="upsertWorkspaceBudget",
    opt=MANAGEMENT,
)
async def set_budget(request: Request[Any, Any, Any], context: Context, id: str, interval: str) -> BudgetAnswer:  # noqa: A002
    """A longer interval's budget must be more than each shorter one's. Requests under way are not stopped."""
    of = _interval(interval)
    wanted = await read_small(request, _BUDGET, context.settings.body_timeout_s)
    await managing.put(context, id, of, wanted)
    return await _budget(context, id, of)


@delete(
    "/workspaces/{id:str}/budgets/{interval:str}",
    summary="Delete a workspace's budget",
    tags=["Workspaces"],
    operation_id="deleteWorkspaceBudget",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_budget(context: Context, id: str, interval: str) -> Deleted:  # noqa: A002
    """Also where there is none."""
    await managing.remove(context, id, _interval(interval))
    return Deleted(deleted=True)


async def _budgets(context: Context, ref: str) -> BudgetList:
    def query(connection: Any) -> BudgetList:
        of = workspaces.find(connection, ref)
        found = workspaces.list_budgets(connection, now(), of.id)
        return BudgetList([_budget_item(of, one) for one in found], of.include_byok_in_budgets)

    return await context.database.read(query)


async def _budget(context: Context, ref: str, interval: Interval) -> BudgetAnswer:
    found = await _budgets(context, ref)
    for one in found.data:
        if one.reset_interval == (None if interval == "lifetime" else interval):
            return BudgetAnswer(one, found.include_byok_in_budgets)
    raise NotFoundError(f"the workspace has no {interval} budget", metadata={"field": "interval"})


def _budget_item(of: Workspace, budget: Budget) -> WorkspaceBudget:
    return WorkspaceBudget(
        id=str(uuid.uuid5(_IDS, f"budget {of.id} {budget.period}")),
        workspace_id=of.id,
        limit_usd=usd(budget.limit_pico),
        reset_interval=RESET_OF.get(budget.period),
        created_at=iso(budget.created_at),
        updated_at=iso(budget.updated_at),
        spend_usd=usd(budget.spent_pico),
        remaining_usd=usd(max(0, budget.limit_pico - budget.spent_pico - budget.held_pico)),
    )


def _interval(given: str) -> Interval:
    for interval in INTERVALS:
        if given == interval:
            return interval
    raise InvalidRequestError(
        f"interval: must be one of {', '.join(INTERVALS)}, not {given[:40]!r}", metadata={"field": "interval"}
    )
