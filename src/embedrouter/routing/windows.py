"""Rolling windows over an endpoint's attempts: seconds, minutes, and histograms with logarithmic buckets.

All are rings: a place holds the count of the time it is stamped with, and is emptied when it is used for another. A
clock that jumps makes places stale, never wrong.
"""

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.ledger.observed import MINUTE
from embedrouter.ledger.scales import Scale
from embedrouter.routing.facts import Percentiles

KEPT: Final = 3 * 24 * 60  # minutes
_AHEAD: Final = 1  # places that may be ahead of our clock: another host's may be
_SECONDS: Final = 30
_HALF_HOUR: Final = 1_800
_BY_MINUTE: Final = 34  # places: half an hour, what is running, what is ahead
_BY_HALF_HOUR: Final = 51


class Recent:
    """Attempts of the last 30 seconds, by the second."""

    __slots__ = ("_attempts", "_failures", "_stamps")

    def __init__(self) -> None:
        self._stamps = [0] * _SECONDS
        self._attempts = [0] * _SECONDS
        self._failures = [0] * _SECONDS

    def add(self, now: float, attempts: int, failures: int) -> None:
        """Count what happened now; failures: of the attempts."""
        second = int(now)
        place = second % _SECONDS
        if self._stamps[place] != second:
            self._stamps[place], self._attempts[place], self._failures[place] = second, attempts, failures
        else:
            self._attempts[place] += attempts
            self._failures[place] += failures

    def sums(self, now: float) -> tuple[int, int]:
        """Attempts and failures."""
        latest = int(now)
        attempts = failures = 0
        for stamp, tried, failed in zip(self._stamps, self._attempts, self._failures, strict=True):
            if 0 <= latest - stamp < _SECONDS:
                attempts += tried
                failures += failed
        return attempts, failures


class Minute(NamedTuple):
    """What happened in one minute."""

    start: int  # seconds
    successes: int
    failures: int
    rate_limited: int
    prompt_tokens: int


class Minutes:
    """Attempts of the last three days, by the minute. 104 KiB."""

    __slots__ = ("_columns", "_stamps")

    def __init__(self) -> None:
        self._stamps = array("I", bytes(4 * KEPT))
        self._columns = (
            array("I", bytes(4 * KEPT)),
            array("I", bytes(4 * KEPT)),
            array("I", bytes(4 * KEPT)),
            array("Q", bytes(8 * KEPT)),
        )

    def place(self, minute: int) -> int:
        """Where a minute since 1970 is counted, emptied if it held another."""
        place = minute % KEPT
        if self._stamps[place] != minute:
            self._stamps[place] = minute
            for column in self._columns:
                column[place] = 0
        return place

    def succeeded(self, minute: int, prompt_tokens: int) -> None:
        """Count a success."""
        place = self.place(minute)
        self._columns[0][place] += 1
        self._columns[3][place] += prompt_tokens

    def failed(self, minute: int, *, rate_limited: bool) -> None:
        """Count a failure."""
        self._columns[2 if rate_limited else 1][self.place(minute)] += 1

    def add(self, now: float, what: Minute) -> None:
        """Add what others counted. What is too old is left out."""
        minute = what.start // MINUTE
        if not -_AHEAD <= int(now) // MINUTE - minute < KEPT - _AHEAD:
            return
        place = self.place(minute)
        for column, count in zip(self._columns, what[1:], strict=True):
            column[place] = max(0, column[place] + count)

    def columns(self, now: float, seconds: float) -> tuple[NDArray[np.int64], ...]:
        """Minutes since 1970, successes, failures, 429s and tokens, of every minute that overlaps the last seconds."""
        stamps = np.frombuffer(self._stamps, np.uint32).astype(np.int64)
        chosen = (stamps > (now - seconds) // MINUTE - 1) & (stamps <= now // MINUTE + _AHEAD)
        chosen &= stamps > now // MINUTE - KEPT
        kinds = (np.uint32, np.uint32, np.uint32, np.uint64)
        return stamps[chosen], *(
            np.frombuffer(column, kind)[chosen].astype(np.int64)
            for column, kind in zip(self._columns, kinds, strict=True)
        )

    def all(self, now: float) -> Iterator[Minute]:
        """Every minute in which something happened, the oldest first."""
        found = self.columns(now, KEPT * MINUTE)
        for index in np.argsort(found[0]):
            yield Minute(int(found[0][index]) * MINUTE, *(int(column[index]) for column in found[1:]))


class Histogram:
    """Values of the last day: by the minute for the last half hour, else by the half hour."""

    __slots__ = ("_hours", "_minutes", "_scale")

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._minutes = _Ring(MINUTE, _BY_MINUTE, scale.buckets)
        self._hours = _Ring(_HALF_HOUR, _BY_HALF_HOUR, scale.buckets)

    def add(self, now: float, start: float, bucket: int, count: int = 1) -> None:
        """Count values of the time that begins with `start`; a bucket that we do not have is left out."""
        if 0 <= bucket < self._scale.buckets:
            self._minutes.add(now, start, bucket, count)
            self._hours.add(now, start, bucket, count)

    def counts(self, now: float, seconds: float) -> NDArray[np.int64]:
        """By bucket, of every minute, or for more than half an hour every half hour, that overlaps the last seconds."""
        ring = self._minutes if seconds <= _HALF_HOUR else self._hours
        return ring.counts(now, seconds)

    def percentiles(self, now: float, seconds: float, *, falling: bool = False) -> Percentiles | None:
        """Of those values. falling: p90 is what 90 % reach at least, instead of at most."""
        counts = self.counts(now, seconds)
        if falling:
            counts = counts[::-1]
        reached = np.cumsum(counts)
        total = int(reached[-1])
        if total <= 0:
            return None
        ranks = [max(1, -(-total * percent // 100)) for percent in (50, 75, 90, 99)]
        found = np.searchsorted(reached, ranks)
        last = self._scale.buckets - 1
        return Percentiles(*(self._scale.middle(last - int(at) if falling else int(at)) for at in found))


class _Ring:
    __slots__ = ("_buckets", "_places", "_stamps", "_width")

    def __init__(self, width: int, places: int, buckets: int) -> None:
        self._width = width  # seconds
        self._buckets = buckets
        self._stamps = [-1] * places
        self._places = [array("i")] * places

    def add(self, now: float, start: float, bucket: int, count: int) -> None:
        stamp = int(start) // self._width
        stamps = self._stamps
        size = len(stamps)
        place = stamp % size
        if stamps[place] != stamp:
            if not -_AHEAD <= now // self._width - stamp < size - _AHEAD:
                return
            self._places[place] = array("i", bytes(4 * self._buckets))
            stamps[place] = stamp
        self._places[place][bucket] += count

    def counts(self, now: float, seconds: float) -> NDArray[np.int64]:
        summed = np.zeros(self._buckets, np.int64)
        first, last = (now - seconds) // self._width, now // self._width + _AHEAD
        for stamp, counts in zip(self._stamps, self._places, strict=True):
            if first <= stamp <= last:
                summed += np.frombuffer(counts, np.int32)
        return summed
