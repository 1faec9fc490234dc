"""Usage over time as stacked charts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal, NamedTuple

from embedrouter.ledger.series import Series as Usage
from embedrouter.ledger.series import Totals
from embedrouter.ledger.zones import Granularity, day_of, today
from embedrouter.money import PICO
from embedrouter.periods import SECOND
from embedrouter.web.charts import Chart, Series
from embedrouter.web.formats import Unit

Measure = Literal["spend", "tokens", "requests", "errors"]

_DAY: Final = timedelta(days=1)
_COLOURS: Final = 7  # names with a colour of their own; all others share one
_OTHERS: Final = "All others"
_SECONDS: Final[dict[Granularity, int]] = {"minute": 60, "hour": 3_600}
_LABELS: Final[dict[Granularity, str]] = {"minute": "%H:%M", "hour": "%d %b %H:%M"}
_TITLES: Final[dict[Granularity, str]] = {"minute": "Minute", "hour": "Hour", "day": "Day", "month": "Month"}
_UNITS: Final[dict[Measure, Unit]] = {"spend": "usd", "tokens": "tokens", "requests": "count", "errors": "count"}


class Change(NamedTuple):
    """A total beside the one of as much time before, in pico-USD or as a count."""

    now: int
    before: int

    @property
    def percent(self) -> float | None:
        """By how much it grew, in percent; None where there was nothing before."""
        return None if self.before == 0 else (self.now - self.before) / self.before * 100


def steps_of(usage: Usage, zone: tzinfo = UTC) -> list[int]:
    """Every step, also those without use; told as in `zones.step_of`."""
    if usage.step in ("minute", "hour"):
        length = _SECONDS[usage.step]
        ahead = datetime.fromtimestamp(usage.span.start, zone).utcoffset() or timedelta()
        first = usage.span.start - (usage.span.start + int(ahead.total_seconds())) % length
        return list(range(first, usage.span.end, length))
    first_day, last_day = today(usage.span.start * SECOND, zone), today((usage.span.end - 1) * SECOND, zone)
    if usage.step == "month":
        first_day = first_day.replace(day=1)
    found = []
    while first_day <= last_day:
        found.append(int(datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC).timestamp()))
        first_day = (first_day + timedelta(days=32)).replace(day=1) if usage.step == "month" else first_day + _DAY
    return found


def label_of(step: int, granularity: Granularity, zone: tzinfo = UTC) -> str:
    """A step as the axis and the table name it."""
    if granularity in ("minute", "hour"):
        return datetime.fromtimestamp(step, zone).strftime(_LABELS[granularity])
    day = day_of(step)
    return f"{day:%b %Y}" if granularity == "month" else f"{day.day} {day:%b}"


def amount(totals: Totals, measure: Measure) -> int:
    """One measure: pico-USD, or a count."""
    match measure:
        case "spend":
            return totals.cost_pico
        case "tokens":
            return totals.tokens
        case "requests":
            return totals.requests
        case "errors":
            return totals.failures


def change(usage: Usage, measure: Measure) -> Change:
    """A measure's total beside the one before."""
    return Change(amount(usage.totals, measure), amount(usage.before, measure))


def stack(usage: Usage, measure: Measure, caption: str, unnamed: str = "None", zone: tzinfo = UTC) -> Chart:
    """What each name has in each step. unnamed: what is shown for an id without a name."""
    steps = steps_of(usage, zone)
    place = {step: number for number, step in enumerate(steps)}
    order = sorted(usage.names, key=lambda name: -_whole(usage, name.id, measure))  # stable: ties stay as they were
    many = len(order) > _COLOURS + 1
    shown = {name.id: number for number, name in enumerate(order[:_COLOURS] if many else order)}
    values = [[0] * len(steps) for _ in range(len(shown) + many)]
    for point in usage.points:
        if point.start in place:
            values[shown.get(point.id, len(shown))][place[point.start]] += amount(point.totals, measure)
    names = [name.label or unnamed for name in order[: len(shown)]] + ([_OTHERS] if many else [])
    scale = PICO if measure == "spend" else 1
    return Chart(
        kind="bars",
        caption=caption,
        unit=_UNITS[measure],
        x=[label_of(step, usage.step, zone) for step in steps],
        x_title=f"{_TITLES.get(usage.step, 'Step')} ({zone})",
        series=[
            Series(name=name, values=[value / scale for value in row], colour=colour)
            for name, row, colour in zip(names, values, _colours(usage, list(shown), many), strict=True)
        ],
        stacked=True,
    )


def _colours(usage: Usage, shown: Sequence[str | int], many: bool) -> list[str]:
    """Of what is shown, and of all others: the same of a name in each chart of this usage, whatever its place there."""
    own = {name.id: number for number, name in enumerate(usage.names[: _COLOURS + (not many)], 1)}
    free = iter([number for number in range(1, _COLOURS + 2) if number not in {own.get(id_) for id_ in shown}])
    taken = [own[id_] if id_ in own else next(free) for id_ in shown]
    return [f"series-{number}" for number in taken] + ([f"series-{_COLOURS + 1}"] if many else [])


def _whole(usage: Usage, id_: str | int, measure: Measure) -> int:
    return sum(amount(point.totals, measure) for point in usage.points if point.id == id_)
