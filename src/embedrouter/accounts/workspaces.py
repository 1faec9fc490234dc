"""Workspaces: their budgets."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.periods import PERIODS, Period, start_of
from embedrouter.store import Batch
from embedrouter.store.tables import budgets, spending, workspaces


class BudgetChange(NamedTuple):
    """What a workspace may spend in each period of a kind; None takes the budget away."""

    slug: str
    period: Period
    limit_pico: int | None


class Budget(NamedTuple):
    """A budget and what is used of it in the period that runs."""

    slug: str
    period: Period
    limit_pico: int
    spent_pico: int
    held_pico: int


def change_budget(batch: Batch, changes: Sequence[BudgetChange]) -> Sequence[Exception | None]:
    """The writer's handler: sets budgets. Running servers take them in with their keys."""
    return [_change_budget(batch, one) for one in changes]


def list_budgets(connection: Connection, at: int) -> list[Budget]:
    """All, by workspace, the shortest period first. at: now, in microseconds."""
    query = select(workspaces.c.slug, budgets).join_from(budgets, workspaces).order_by(workspaces.c.slug)
    found = []
    for row in connection.execute(query):
        used = connection.execute(
            select(spending.c.spent_pico, spending.c.held_pico).where(
                spending.c.scope == "workspace",
                spending.c.scope_id == row.workspace_id,
                spending.c.period == row.period,
                spending.c.start == start_of(row.period, at),
            )
        ).one_or_none()
        found.append(Budget(row.slug, row.period, row.limit_pico, *(used or (0, 0))))
    order = (*PERIODS[1:], PERIODS[0])
    return sorted(found, key=lambda budget: (budget.slug, order.index(budget.period)))


def _change_budget(batch: Batch, wanted: BudgetChange) -> Exception | None:
    connection = batch.connection
    of = connection.execute(select(workspaces.c.id).where(workspaces.c.slug == wanted.slug)).scalar_one_or_none()
    if of is None:
        return NotFoundError(f'no workspace has the slug "{wanted.slug}"', metadata={"field": "workspace"})
    if wanted.limit_pico is None:
        connection.execute(delete(budgets).where(budgets.c.workspace_id == of, budgets.c.period == wanted.period))
        return None
    if wanted.limit_pico < 0:
        return InvalidRequestError("a budget must not be negative", metadata={"field": "limit"})
    added = batch.database.insert(budgets)
    connection.execute(
        added.on_conflict_do_update(
            index_elements=[budgets.c.workspace_id, budgets.c.period], set_={"limit_pico": wanted.limit_pico}
        ),
        {"workspace_id": of, "period": wanted.period, "limit_pico": wanted.limit_pico},
    )
    return None
