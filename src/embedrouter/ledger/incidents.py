"""Incidents: times in which an endpoint failed, found in the minutes that all processes share. Kept for three days."""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, literal_column, or_, select

from embedrouter.ledger.observed import MINUTE, MinuteCounts
from embedrouter.periods import DAY, SECOND
from embedrouter.store.tables import health_minutes

Kind = Literal["errors", "rate_limits"]
_KEPT: Final = 3 * DAY
_0: Final[Any] = literal_column("0")  # as it stands in the index of the minutes in which something failed


class Threshold(NamedTuple):
    """What makes an incident."""

    share: float = 0.2  # of a minute's attempts that failed or met a rate limit, at least
    least: int = 5  # attempts of a minute that tell anything
    quiet: int = 10 * MINUTE  # seconds without a bad minute after which it is over; a good minute does not end it
    failed: int = 5  # attempts of the whole incident, at least


class Incident(NamedTuple):
    """An endpoint failed."""

    endpoint: str  # id: model slug, space, tag
    start: int  # seconds
    end: int | None  # the second after its last bad minute; None: it may go on
    kind: Kind  # what most of what failed was; minutes do not tell timeouts from other errors
    attempts: int  # in the minutes that are given, from its first bad one to its last
    failures: int
    rate_limited: int
    worst: float  # the largest share of a minute, 0 to 1


THRESHOLD: Final = Threshold()


def incidents(minutes: Iterable[MinuteCounts], now: int, threshold: Threshold = THRESHOLD) -> tuple[Incident, ...]:
    """Of minutes in any order, one row each; the newest first. now: seconds."""
    ordered = sorted(minutes, key=lambda one: (one.endpoint, one.minute))
    found = [
        incident
        for _, of in groupby(ordered, key=lambda one: one.endpoint)
        for incident in _of_one(list(of), now, threshold)
    ]
    return tuple(sorted(found, key=lambda one: (-one.start, one.endpoint)))


def recent_incidents(
    connection: Connection, at: int, endpoints: Collection[str] | None = None, threshold: Threshold = THRESHOLD
) -> tuple[Incident, ...]:
    """Of the last three days. at: now, in microseconds. endpoints: their ids; None: all, also private ones.

    Their attempts are those of minutes in which something failed.
    """
    table, now = health_minutes.c, at // SECOND
    query = select(health_minutes).where(table.minute >= now - _KEPT, or_(table.failures > _0, table.rate_limited > _0))
    if endpoints is not None:
        query = query.where(table.endpoint.in_(endpoints))
    return incidents((MinuteCounts(*row) for row in connection.execute(query)), now, threshold)


def _of_one(minutes: Sequence[MinuteCounts], now: int, threshold: Threshold) -> Iterable[Incident]:
    """minutes: of one endpoint, the oldest first."""
    bad = [index for index, one in enumerate(minutes) if _is_bad(one, threshold)]
    first = 0
    for place, index in enumerate(bad):
        last = place + 1 == len(bad)
        if last or minutes[bad[place + 1]].minute - minutes[index].minute - MINUTE >= threshold.quiet:
            incident = _put_together(minutes[bad[first] : index + 1], now, threshold)
            if incident.failures + incident.rate_limited >= threshold.failed:
                yield incident
            first = place + 1


def _put_together(minutes: Sequence[MinuteCounts], now: int, threshold: Threshold) -> Incident:
    failures = sum(one.failures for one in minutes)
    limited = sum(one.rate_limited for one in minutes)
    end = minutes[-1].minute + MINUTE
    return Incident(
        minutes[0].endpoint,
        minutes[0].minute,
        None if now - end < threshold.quiet else end,
        "errors" if failures >= limited else "rate_limits",
        failures + limited + sum(one.successes for one in minutes),
        failures,
        limited,
        max(_share(one) for one in minutes if _is_bad(one, threshold)),
    )


def _is_bad(one: MinuteCounts, threshold: Threshold) -> bool:
    attempts = one.successes + one.failures + one.rate_limited
    return attempts >= threshold.least and _share(one) >= threshold.share


def _share(one: MinuteCounts) -> float:
    return (one.failures + one.rate_limited) / (one.successes + one.failures + one.rate_limited)
