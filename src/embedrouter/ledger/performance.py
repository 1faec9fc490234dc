"""How fast endpoints answered by the hour, from the histograms that all processes share. Kept for three days."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger.scales import LATENCY, THROUGHPUT, percentiles
from embedrouter.ledger.spans import hours
from embedrouter.periods import HOUR
from embedrouter.store.tables import health_histograms

_HOURS: Final = 24


class Latency(NamedTuple):
    """Seconds that so many percent of the answers did not exceed, to within 10 %."""

    p50: float
    p90: float
    p99: float


class PerformanceHour(NamedTuple):
    """A clock hour of an endpoint. None: nothing was observed."""

    endpoint: str  # id: model slug, space, tag
    start: int  # seconds
    answers: int
    latency: Latency | None
    throughput_p50: float | None  # prompt tokens a second


def performance_hours(
    connection: Connection, endpoints: Sequence[str], at: int, count: int = _HOURS
) -> tuple[PerformanceHour, ...]:
    """Every one of the last clock hours of each of the endpoints, given by their ids: in their order, the oldest first.

    at: now, in microseconds.
    """
    span, table = hours(count, at), health_histograms.c
    each = select(
        table.endpoint, (table.minute - table.minute % HOUR).label("hour"), table.measure, table.bucket, table.count
    ).where(table.endpoint.in_(endpoints), table.minute >= span.start, table.minute < span.end).subquery()  # fmt: skip
    keys = (each.c.endpoint, each.c.hour, each.c.measure, each.c.bucket)
    counts: dict[tuple[str, int, str], dict[int, int]] = {}
    for endpoint, hour, measure, bucket, values in connection.execute(
        select(*keys, func.sum(each.c.count)).group_by(*keys)
    ):
        counts.setdefault((endpoint, int(hour), measure), {})[bucket] = int(values)
    return tuple(
        _hour(endpoint, start, counts.get((endpoint, start, "latency"), {}),
              counts.get((endpoint, start, "throughput"), {}))
        for endpoint in endpoints
        for start in range(span.start, span.end, HOUR)
    )  # fmt: skip


def _hour(endpoint: str, start: int, latency: dict[int, int], throughput: dict[int, int]) -> PerformanceHour:
    seconds = percentiles(latency, LATENCY, (50, 90, 99))
    rate = percentiles(throughput, THROUGHPUT, (50,), falling=True)
    return PerformanceHour(
        endpoint,
        start,
        sum(latency.values()),
        None if seconds is None else Latency(*seconds),
        None if rate is None else rate[0],
    )
