"""Whether models and endpoints answered, by the hour and by the day.

With routing: of the requests that reached a provider, the share that was answered in the end, by whichever one.
Without: the share whose first attempt was answered. Left out of both: requests whose client went away, and those that
the cache answered. Requests that were refused before anybody was asked, and those that the server itself had no room
for (503), leave no generation, so nobody counts them.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Subquery, func, select

from embedrouter.ledger.rollups import MODEL_DAYS, MODEL_HOURS, rows
from embedrouter.ledger.spans import days, hours
from embedrouter.ledger.zones import day_of
from embedrouter.periods import HOUR

_HOURS: Final = 72


class Answers(NamedTuple):
    """How requests went."""

    asked: int = 0
    answered: int = 0
    answered_first: int = 0  # of them, by who was asked first

    @property
    def with_routing(self) -> float | None:
        """Percent that was answered; None if nothing was asked."""
        return 100.0 * self.answered / self.asked if self.asked else None

    @property
    def without_routing(self) -> float | None:
        """Percent that the first attempt answered; None if nothing was asked."""
        return 100.0 * self.answered_first / self.asked if self.asked else None


class ModelHour(NamedTuple):
    """A clock hour of a model."""

    start: int  # seconds
    answers: Answers


class ComponentDay(NamedTuple):
    """A UTC day of a model at one endpoint, as the requests that ended there went."""

    model: str  # slug
    model_permaslug: str
    endpoint: str  # tag
    provider_name: str
    day: date
    answers: Answers


def uptime(successes: int, failures: int) -> float | None:
    """Percent of attempts; None without any."""
    return 100.0 * successes / (successes + failures) if successes + failures else None


def model_hours_of(connection: Connection, model_permaslug: str, at: int, count: int = _HOURS) -> tuple[ModelHour, ...]:
    """Every one of a model's last clock hours, the oldest first. at: now, in microseconds."""
    span = hours(count, at)
    each = rows(
        connection, MODEL_HOURS, span, ("bucket", *_COLUMNS), lambda of: [of["model_permaslug"] == model_permaslug]
    )
    sums = connection.execute(select(each.c.bucket, *_sums(each)).group_by(each.c.bucket))
    found = {int(row[0]): _answers(row[1:]) for row in sums}
    return tuple(ModelHour(start, found.get(start, Answers())) for start in range(span.start, span.end, HOUR))


def availability(counted: Iterable[Answers]) -> Answers:
    """All of them together."""
    return Answers(*map(sum, zip(*counted, strict=True))) if (counted := tuple(counted)) else Answers()


def component_days(connection: Connection, at: int, count: int = 30) -> tuple[ComponentDay, ...]:
    """The last UTC days of every model at every endpoint, of those in which it was asked; the oldest first.

    A request counts where it ended: an endpoint whose requests another answers has no failures here, but incidents.
    """
    keys = ("bucket", "model_permaslug", "endpoint")
    each = rows(connection, MODEL_DAYS, days(count, at), (*keys, "model", "provider_name", *_COLUMNS))
    by = [each.c[name] for name in keys]
    names = (func.max(each.c.model), func.max(each.c.provider_name))
    found = connection.execute(select(*by, *names, *_sums(each)).group_by(*by).order_by(*by))
    return tuple(
        ComponentDay(model, slug, endpoint, provider, day_of(day), _answers(sums))
        for day, slug, endpoint, model, provider, *sums in found
    )


_COLUMNS: Final = ("requests", "failures", "cancelled", "cache_hits", "rerouted")


def _answers(sums: Sequence[Any]) -> Answers:
    requests, failures, cancelled, cache_hits, rerouted = map(int, sums)
    answered = requests - failures - cache_hits
    return Answers(requests - cancelled - cache_hits, answered, answered - rerouted)


def _sums(each: Subquery) -> list[Any]:
    return [func.sum(each.c[name]) for name in _COLUMNS]
