"""Whether a model answered: three days by the hour, and what routing did for it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.ledger.uptime import ModelHour, availability, model_hours_of
from embedrouter.web.charts import Chart, Series
from embedrouter.web.models.hours import label, labels
from embedrouter.web.models.providers import Tone, tone, word

_DAY: Final = 24  # hours


class Bar(NamedTuple):
    """An hour of the strip. percent: None if nothing was asked."""

    label: str
    asked: int
    percent: float | None  # with routing
    without: float | None

    @property
    def tone(self) -> Tone:
        return tone(self.percent)

    @property
    def word(self) -> str:
        return word(self.percent)


class Uptime(NamedTuple):
    """Percents are rounded down, so that 100 is all of them."""

    bars: tuple[Bar, ...]
    chart: Chart
    asked: int  # in the last 24 hours
    with_routing: float | None
    without_routing: float | None

    @property
    def tone(self) -> Tone:
        return tone(self.with_routing)


async def view(context: Context, model: Model, at: int) -> Uptime:
    """Of the last 72 and the last 24 hours."""
    hours = await context.database.read(lambda connection: model_hours_of(connection, model.canonical_slug, at))
    return uptime(hours)


def uptime(hours: Sequence[ModelHour]) -> Uptime:
    """hours: the oldest first."""
    day = hours[-_DAY:]
    whole = availability(hour.answers for hour in day)
    lines = (
        ("With routing", [floored(hour.answers.answered, hour.answers.asked) for hour in day]),
        ("Without routing", [floored(hour.answers.answered_first, hour.answers.asked) for hour in day]),
    )
    lowest = min((value for _, values in lines for value in values if value is not None), default=100.0)
    chart = Chart(
        kind="lines",
        caption="Answered requests, the last 24 hours",
        unit="percent",
        x=labels(hour.start for hour in day),
        x_title="Hour, UTC",
        series=[Series(name=name, values=values) for name, values in lines],
        low=next(low for low in (96.0, 80.0, 60.0, 0.0) if low <= lowest),
        high=100.0,
    )
    return Uptime(
        tuple(_bar(hour) for hour in hours),
        chart,
        whole.asked,
        floored(whole.answered, whole.asked),
        floored(whole.answered_first, whole.asked),
    )


def floored(part: int, whole: int) -> float | None:
    """Percent, rounded down to two digits; None of nothing."""
    return part * 10_000 // whole / 100 if whole else None


def _bar(hour: ModelHour) -> Bar:
    answers = hour.answers
    return Bar(
        label(hour.start),
        answers.asked,
        floored(answers.answered, answers.asked),
        floored(answers.answered_first, answers.asked),
    )
