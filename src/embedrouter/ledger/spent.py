"""What keys and workspaces have spent and hold, by calendar period: the counters of `spending`, read."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select, tuple_

from embedrouter.periods import PERIODS, Period, start_of
from embedrouter.store.tables import budgets, guardrails, spending, workspaces


class Sum(NamedTuple):
    """Of one period, in pico-USD."""

    spent_pico: int = 0
    held_pico: int = 0
    byok_pico: int = 0  # what own credentials paid for, by list price
    byok_held_pico: int = 0  # beyond held_pico

    def counted(self, *, byok: bool) -> "Sum":
        """As a limit counts it that counts what own credentials pay for, or does not."""
        return Sum(self.spent_pico + self.byok_pico, self.held_pico + self.byok_held_pico) if byok else self


class Spent(NamedTuple):
    """What one key or workspace has spent: altogether, and in the day, week and month that it is."""

    total: Sum = Sum()
    day: Sum = Sum()
    week: Sum = Sum()
    month: Sum = Sum()
    last_at: int | None = None  # microseconds; of its last request

    def of(self, period: Period) -> Sum:
        """In one period."""
        found: Sum = getattr(self, period)
        return found

    def left(self, limit_pico: int, period: Period, *, byok: bool) -> int:
        """What may still be reserved under a limit; never negative. Held money counts as gone.

        byok: whether the limit counts what own credentials pay for.
        """
        used = self.of(period).counted(byok=byok)
        return max(0, limit_pico - used.spent_pico - used.held_pico)


class Budget(NamedTuple):
    """A limit of a workspace or a guardrail."""

    period: Period
    limit_pico: int
    counts_byok: bool


NOTHING: Final = Spent()


def spent_by_keys(connection: Connection, key_ids: Collection[int], at: int) -> Mapping[int, Spent]:
    """Of many keys in one query; at: now, in microseconds. A key that is not there has spent nothing."""
    found = _spent(connection, "key", [str(key_id) for key_id in key_ids], at)
    return {int(key_id): spent for key_id, spent in found.items()}


def spent_by_workspace(connection: Connection, workspace_id: str, at: int) -> Spent:
    """Of all its keys together."""
    return _spent(connection, "workspace", [workspace_id], at).get(workspace_id, NOTHING)


def spent_by_guardrails(connection: Connection, ids: Collection[str], at: int) -> Mapping[str, Spent]:
    """Of all keys that each holds for, while it has a budget."""
    return _spent(connection, "guardrail", ids, at)


def limits_of_guardrails(connection: Connection, ids: Collection[str]) -> Mapping[str, Budget]:
    """Of those that have a budget."""
    table = guardrails.c
    query = select(table.id, table.limit_reset, table.limit_pico, table.include_byok_in_budgets)
    rows = connection.execute(query.where(table.id.in_(ids), table.limit_pico.is_not(None)))
    return {of: Budget(reset or "total", limit, counts_byok) for of, reset, limit, counts_byok in rows}


def budgets_of(connection: Connection, workspace_id: str) -> list[Budget]:
    """A workspace's budgets, the shortest period first."""
    query = select(budgets.c.period, budgets.c.limit_pico, workspaces.c.include_byok_in_budgets)
    rows = connection.execute(query.join_from(budgets, workspaces).where(budgets.c.workspace_id == workspace_id))
    found = {row[0]: Budget(*row) for row in rows}
    return [found[period] for period in ("day", "week", "month", "total") if period in found]


def _spent(connection: Connection, scope: str, ids: Collection[str], at: int) -> dict[str, Spent]:
    starts = [(period, start_of(period, at)) for period in PERIODS]
    query = select(spending).where(
        spending.c.scope == scope,
        spending.c.scope_id.in_(ids),
        tuple_(spending.c.period, spending.c.start).in_(starts),
    )
    found: dict[str, Spent] = {}
    for row in connection.execute(query):
        change: dict[str, Any] = {row.period: Sum(row.spent_pico, row.held_pico, row.byok_pico, row.byok_held_pico)}
        if row.period == "total" and row.last_at:  # 0: a row that only holds
            change["last_at"] = row.last_at
        found[row.scope_id] = found.get(row.scope_id, NOTHING)._replace(**change)
    return found
