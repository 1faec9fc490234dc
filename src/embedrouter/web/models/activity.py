"""How much a model was used, by the day and provider, in public."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.ledger.trends import DayTotal, ModelDay, day_totals, model_days
from embedrouter.web.charts import Chart, Series

_MOST: Final = 7  # providers with a colour of their own
_OTHER: Final = "Others"


class Activity(NamedTuple):
    """Of 30 days."""

    chart: Chart
    tokens: int
    requests: int
    busiest: DayTotal | None  # None: no day had any


async def view(context: Context, model: Model, at: int) -> Activity:
    """Today is the last day, as far as it has come."""
    rows = await context.database.read(lambda connection: model_days(connection, model.canonical_slug, at))
    known = {endpoint.provider.name for endpoint in model.endpoints}
    return activity(rows, day_totals(rows, at), known)


def activity(rows: Sequence[ModelDay], totals: Sequence[DayTotal], known: set[str]) -> Activity:
    """known: names of providers that everybody may know; the rest are others, together."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.provider_name] = sums.get(row.provider_name, 0) + row.tokens
    order = sorted((name for name in sums if name in known), key=lambda name: (-sums[name], name))[:_MOST]
    names = [*order, *([_OTHER] if len(order) < len(sums) else [])]
    tokens: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.provider_name if row.provider_name in order else _OTHER, row.day.isoformat())
        tokens[key] = tokens.get(key, 0) + row.tokens
    days = [total.day for total in totals]
    chart = Chart(
        kind="bars",
        caption="Tokens a day by provider, the last 30 days",
        unit="tokens",
        x=[f"{day.day} {day:%b}" for day in days],
        x_title="Day, UTC",
        series=[
            Series(name=name, values=[tokens.get((name, day.isoformat()), 0) for day in days]) for name in names
        ],
        stacked=True,
    )  # fmt: skip
    busiest = max(totals, key=lambda total: total.tokens, default=None)
    return Activity(
        chart,
        sum(total.tokens for total in totals),
        sum(total.requests for total in totals),
        busiest if busiest is not None and busiest.requests else None,
    )
