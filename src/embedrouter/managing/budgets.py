"""What a workspace may spend: set and taken away."""

from typing import Annotated

import msgspec
from msgspec import Meta

from embedrouter.accounts import workspaces
from embedrouter.accounts.workspaces import BudgetChange
from embedrouter.context import Context
from embedrouter.money import MOST, PICO, pico_usd
from embedrouter.periods import INTERVALS, Interval

Price = Annotated[float, Meta(gt=0, le=MOST // PICO, description="USD")]


class SetBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The body of PUT /workspaces/{id}/budgets/{interval}."""

    limit_usd: Price
    include_byok_in_budgets: bool | None = None


async def put(context: Context, ref: str, interval: Interval, wanted: SetBudget) -> None:
    """A longer interval's must be more than each shorter one's. ref: a workspace's id or slug."""
    await _change(context, ref, interval, pico_usd(wanted.limit_usd), wanted.include_byok_in_budgets)


async def remove(context: Context, ref: str, interval: Interval) -> None:
    """Take it away, if there is one."""
    await _change(context, ref, interval, None, None)


async def _change(context: Context, ref: str, interval: Interval, limit: int | None, byok: bool | None) -> None:
    change = BudgetChange(ref, INTERVALS[interval], limit, byok)
    await context.writer.write(workspaces.change_budget, change)
    await context.refresh()
