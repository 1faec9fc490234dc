"""When something is not asked: rests that grow, and the breaker of an endpoint with its half-open probes."""

from typing import Final, Literal, NamedTuple

from embedrouter.ledger.observed import Reason
from embedrouter.routing.windows import Recent

PROBE: Final = 60.0  # seconds after which a probe that never reported back is given up
_IN_A_ROW: Final = 5  # failures
_ENOUGH: Final = 20  # attempts in 30 seconds that a share of failures tells something of
_SHARE: Final = 0.5
_CALM: Final = 60.0  # seconds after which the past of a breaker that closed is forgotten
_FIRST_OPEN: Final = 1.0  # seconds
_LONGEST_OPEN: Final = 60.0
_SPREAD: Final = 0.25  # of an open time, by chance: not all processes come back at once
_RATE_FIRST: Final = 1.0  # seconds, where the provider does not say how long
_RATE_LONGEST: Final = 2.0  # a guess must not outlast what a request is willing to wait
_PROBED: Final = 1.0  # seconds: what to tell whoever asks when a probe will be back

Effect = Literal["well", "ill", "nothing"]  # what an attempt tells of the endpoint


class Rest:
    """A time in which something is not asked."""

    __slots__ = ("_seconds", "_until", "strikes")

    def __init__(self) -> None:
        self._until = self._seconds = 0.0
        self.strikes = 0  # in a row

    def left(self, now: float) -> float:
        """Seconds, 0 when it is over."""
        left = self._until - now
        if left <= 0.0:
            return 0.0
        if left > self._seconds:  # the clock was set back
            self._until, left = now + self._seconds, self._seconds
        return left

    def begin(self, now: float, seconds: float) -> None:
        """Rest from now on, or not at all."""
        self._until, self._seconds = now + seconds, seconds

    def extend(self, now: float, seconds: float) -> bool:
        """Rest at least so long; whether that is longer than it was."""
        longer = seconds > self.left(now)
        if longer:
            self.begin(now, seconds)
        return longer

    def strike(self, now: float, seconds: float | None, first: float, longest: float) -> bool:
        """A reason to rest for so long; None: `first`, doubled with each strike up to `longest`.

        What comes while it rests was under way before, and is no other strike. Whether it now rests longer.
        """
        if not self.left(now):
            self.strikes += 1
        told = seconds if seconds is not None else doubled(first, longest, self.strikes)
        return self.extend(now, told)


def doubled(first: float, longest: float, strikes: int) -> float:
    """Seconds of the so-manieth rest in a row, from 1."""
    return float(min(longest, first * 2.0 ** min(strikes - 1, 30)))


class Closed(NamedTuple):
    """Nothing gets through now."""

    seconds: float
    reason: Reason


class Breaker:
    """Of one endpoint."""

    __slots__ = ("_closed_at", "_in_a_row", "_probe", "_recent", "limit", "open", "rest")

    def __init__(self) -> None:
        self.open = False  # also half-open: when its rest is over
        self.rest = Rest()
        self.limit = Rest()  # after a 429
        self._probe = Rest()
        self._in_a_row = 0
        self._recent = Recent()
        self._closed_at = -_CALM

    def closed(self, now: float) -> Closed | None:
        """Why and for how long it lets nothing through; None where it does."""
        limited, resting = self.limit.left(now), self.rest.left(now) if self.open else 0.0
        if resting > limited:
            return Closed(resting, "failing")
        if limited:
            return Closed(limited, "rate_limited")
        if self.open and self._probe.left(now):
            return Closed(min(self._probe.left(now), _PROBED), "failing")
        return None

    def may_try(self, now: float, seconds: float) -> bool:
        """Whether an attempt may be made. Half-open only one at a time, which reports back within so many seconds."""
        if self.closed(now) is not None:
            return False
        if self.open:
            self._probe.begin(now, seconds)
        return True

    def limited(self, now: float, retry_after: float | None) -> bool:
        """A 429 came; whether the pause became longer."""
        self._probe.begin(now, 0.0)
        told = None if retry_after is None else min(max(retry_after, 0.0), _LONGEST_OPEN)
        return self.limit.strike(now, told, _RATE_FIRST, _RATE_LONGEST)

    def report(self, now: float, effect: Effect, jitter: float) -> bool:
        """How an attempt went; whether the breaker opened. jitter: 0 to 1.

        What comes back while it rests was under way before it opened, or was sent by somebody who had no other choice.
        """
        if effect == "nothing":
            self._probe.begin(now, 0.0)
            return False
        ill = effect == "ill"
        if not self.open:
            self._recent.add(now, 1, int(ill))
            if not ill:
                self._in_a_row = 0
                if self.limit.strikes and not self.limit.left(now):
                    self.limit.strikes = 0
                return False
            self._in_a_row += 1
            if not self._trips(now):
                return False
            if now - self._closed_at > _CALM:
                self.rest.strikes = 0
        elif self.rest.left(now):
            return False
        elif not ill:
            self._close(now)
            return False
        self.rest.strikes += 1
        longest = doubled(_FIRST_OPEN, _LONGEST_OPEN, self.rest.strikes)
        self._open(now, longest * (1.0 - _SPREAD * jitter))
        return True

    def told(self, now: float, seconds: float, strikes: int, reason: Reason) -> None:
        """Another process was paused for so long from now on; 0: not any more."""
        seconds = min(seconds, _LONGEST_OPEN)
        rest = self.limit if reason == "rate_limited" else self.rest
        if seconds <= 0.0:
            return
        if reason == "failing" and (not self.open or seconds > rest.left(now)):
            self._open(now, max(seconds, rest.left(now)))
        elif reason == "rate_limited":
            rest.extend(now, seconds)
        rest.strikes = max(rest.strikes, strikes)

    def _trips(self, now: float) -> bool:
        if self._in_a_row >= _IN_A_ROW:
            return True
        attempts, failures = self._recent.sums(now)
        return attempts >= _ENOUGH and failures >= _SHARE * attempts

    def _open(self, now: float, seconds: float) -> None:
        self.open = True
        self.rest.begin(now, seconds)
        self._probe.begin(now, 0.0)

    def _close(self, now: float) -> None:
        self.open = False
        self._in_a_row = 0
        self._recent = Recent()  # what opened it shall not open it again
        self._closed_at = now
        self._probe.begin(now, 0.0)
