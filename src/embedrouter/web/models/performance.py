"""How fast a model's endpoints answered, by the hour."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from embedrouter.catalog.models import Model, endpoint_id
from embedrouter.context import Context
from embedrouter.ledger.performance import PerformanceHour, performance_hours
from embedrouter.periods import HOUR, SECOND
from embedrouter.web.charts import Chart, Series
from embedrouter.web.formats import Unit
from embedrouter.web.models.hours import labels

_MOST: Final = 8  # endpoints in a chart: as many as there are colours
_HOURS: Final = 24
_LIVE: Final = 2  # hours that may change yet: other processes tell what they saw a little later
_HOUR_SIZE: Final = 400  # bytes, roughly

Value = Callable[[PerformanceHour], float | None]
_LATENCIES: Final[tuple[tuple[str, str, Value], ...]] = (
    ("p50", "half were faster", lambda hour: hour.latency and hour.latency.p50 * 1000),
    ("p90", "90% were faster", lambda hour: hour.latency and hour.latency.p90 * 1000),
    ("p99", "99% were faster", lambda hour: hour.latency and hour.latency.p99 * 1000),
)


async def view(context: Context, model: Model, at: int) -> tuple[Chart, ...]:
    """Of the last 24 hours; nothing where nothing was observed."""
    named = {endpoint_id(model, endpoint): endpoint.tag for endpoint in model.endpoints[:_MOST]}
    hours = await _hours(context, tuple(named), at)
    return charts([(tag, [hour for hour in hours if hour.endpoint == id_]) for id_, tag in named.items()])


async def _hours(context: Context, endpoints: tuple[str, ...], at: int) -> Sequence[PerformanceHour]:
    """What is over is read once an hour: it takes ten times as long as the running hour and the one before."""
    before = at - _LIVE * HOUR * SECOND
    key = (endpoints, before // SECOND // HOUR)
    past = context.past_hours.get(key)
    if past is None:
        past = await context.database.read(
            lambda connection: performance_hours(connection, endpoints, before, _HOURS - _LIVE)
        )
        context.past_hours.put(key, past, _HOUR_SIZE * len(past))
    live = await context.database.read(lambda connection: performance_hours(connection, endpoints, at, _LIVE))
    return [*past, *live]


def charts(endpoints: Sequence[tuple[str, Sequence[PerformanceHour]]]) -> tuple[Chart, ...]:
    """One endpoint has its percentiles in one chart; several are beside each other in a chart a percentile."""
    seen = [(tag, hours) for tag, hours in endpoints if any(hour.answers for hour in hours)]
    if not seen:
        return ()
    throughput = _chart(
        "Throughput, prompt tokens a second (half reached it)",
        "tokens",
        seen[0][1],
        ((tag, [hour.throughput_p50 for hour in hours]) for tag, hours in seen),
    )
    if len(seen) == 1:
        hours = seen[0][1]
        lines = ((name, [value(hour) for hour in hours]) for name, _, value in _LATENCIES)
        return _chart(f"Latency at {seen[0][0]}", "ms", hours, lines), throughput
    latencies = (
        _chart(
            f"Latency {name} ({told})",
            "ms",
            seen[0][1],
            ((tag, [value(hour) for hour in hours]) for tag, hours in seen),
        )
        for name, told, value in _LATENCIES
    )
    return *latencies, throughput


def _chart(
    caption: str, unit: Unit, hours: Sequence[PerformanceHour], lines: Iterable[tuple[str, list[float | None]]]
) -> Chart:
    series = [Series(name=name, values=values) for name, values in lines]
    x = labels(hour.start for hour in hours)
    return Chart(kind="lines", caption=caption, unit=unit, x=x, x_title="Hour, UTC", series=series, low=0)
