"""How much is asked in which hour, and how providers are at a time. Pure."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.demo.scene import INCIDENTS, PRIVATE, PRIVATE_PROVIDER, Incident, Place, Stream, stops
from embedrouter.periods import DAY, SECOND
from embedrouter.providers.wire import Failure

HOUR: Final = 3_600 * SECOND  # microseconds
GROWTH: Final = 1.2  # how much more is asked at the end than at the beginning, beside what streams grow
_NIGHT: Final = (1, 2, 3, 4)  # hours, UTC
_WEEKEND: Final = 0.45
_BUSIEST: Final = 14.0  # o'clock, UTC
_LONGEST: Final = 10.0  # seconds that a provider may take


class Span(NamedTuple):
    """The time that the demo plays in."""

    end: int  # microseconds
    days: int

    @property
    def start(self) -> int:
        """Microseconds."""
        return self.end - self.days * DAY * SECOND

    def before_end(self, share: float) -> int:
        """The time so far from its end, as a share of the whole."""
        return self.end - int(share * self.days * DAY * SECOND)


class Went(NamedTuple):
    """How one attempt went."""

    failure: Failure | None
    seconds: float


STATUS: Final[dict[Failure | None, int]] = {
    None: 200,
    "server": 502,
    "overloaded": 503,
    "timeout": 504,
    "rate_limited": 429,
}


def weights(streams: Sequence[Stream], span: Span) -> NDArray[np.float64]:
    """(streams, hours): how much of all requests each is."""
    hours = np.arange(span.days * 24)
    begun = [datetime.fromtimestamp((span.start + int(hour) * HOUR) / SECOND, UTC) for hour in hours]
    daily = np.array([_daily(one.hour + one.minute / 60) for one in begun])
    nightly = np.array([6.0 if one.hour in _NIGHT else 0.15 for one in begun])
    weekly = np.array([_WEEKEND if one.weekday() >= 5 else 1.0 for one in begun])
    progress = (hours + 0.5) / len(hours)
    rows = []
    for stream in streams:
        rhythm = nightly if stream.nightly else daily * weekly
        row = (stream.begins + (stream.ends - stream.begins) * progress) * (1.0 + GROWTH * progress) * rhythm
        row[progress > 1.0 - stops(stream)] = 0.0
        rows.append(row)
    return np.array(rows)


def _daily(clock: float) -> float:
    away = min(abs(clock - _BUSIEST), 24.0 - abs(clock - _BUSIEST))
    return 0.25 + math.exp(-((away / 5.0) ** 2))


class Providers:
    """How they are at any time."""

    def __init__(self, span: Span) -> None:
        self._incidents: dict[str, list[tuple[int, int, Incident]]] = {}
        for one in INCIDENTS:
            begun = span.end - int(one.days_ago * DAY * SECOND)
            self._incidents.setdefault(one.provider, []).append((begun, begun + int(one.hours * HOUR), one))

    def is_failing(self, place: Place, at: int) -> bool:
        """Whether an incident makes it fail or refuse. at: microseconds."""
        of_it = self._incidents.get(_slug(place), ())
        return any(begun <= at < ended and incident.trouble != "slow" for begun, ended, incident in of_it)

    def ask(self, place: Place, at: int, tokens: int, chance: float, normal: float) -> Went:
        """What becomes of an attempt. at: microseconds; chance: 0 to 1, uniform; normal: of the normal distribution."""
        seconds = (place.median + tokens * place.per_token) * math.exp(place.spread * normal)
        failing, limited = place.failing, 0.0
        for begun, ended, incident in self._incidents.get(_slug(place), ()):
            if begun <= at < ended:
                if incident.trouble == "slow":
                    seconds *= incident.amount
                elif incident.trouble == "limited":
                    limited = incident.amount
                else:
                    failing = incident.amount
        if chance < limited:
            return Went("rate_limited", min(seconds, 0.05))
        if chance < limited + failing:
            return _failed((chance - limited) / failing, seconds)
        return Went("timeout", _LONGEST) if seconds >= _LONGEST else Went(None, seconds)


def _failed(kind: float, seconds: float) -> Went:
    if kind < 0.45:
        return Went("server", min(seconds, _LONGEST))
    if kind < 0.75:
        return Went("overloaded", min(seconds, 0.3))
    return Went("timeout", _LONGEST)


def _slug(place: Place) -> str:
    return PRIVATE_PROVIDER if place.provider == PRIVATE else place.provider
