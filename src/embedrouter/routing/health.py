"""How endpoints and credentials are: what attempts tell, what routing asks, what other processes are told.

An attempt is recorded in a few microseconds. Facts are read on every request, so what takes longer to work out is kept
for a second.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np

from embedrouter.ledger.observed import MINUTE, Measure, MinuteCounts, Observed, Pause, Reason, Tally
from embedrouter.ledger.scales import LATENCY, THROUGHPUT
from embedrouter.providers.wire import Failure
from embedrouter.routing.breaker import PROBE, Breaker, Closed, Effect, Rest
from embedrouter.routing.credentials import CredentialState
from embedrouter.routing.facts import Facts, Percentiles, Tier
from embedrouter.routing.windows import Histogram, Minute, Minutes, Recent

T = TypeVar("T")

CREDENTIAL: Final = "credential:"  # before a credential's id, where it stands among endpoints'
_COUNTED: Final = frozenset[Failure | None](
    {"unauthorized", "payment", "not_found", "server", "overloaded", "timeout", "invalid_answer"}
)
_ILL: Final = frozenset[Failure | None]({"not_found", "server", "overloaded", "timeout", "invalid_answer"})
_FACTS_FOR: Final = 1.0  # seconds
_FACTS_OF: Final = 300.0  # seconds: the percentiles that routing compares
_TIER_OF: Final = 1_800.0  # seconds
_TIER_FROM: Final = 100  # attempts
_OUTAGE_FROM: Final = 3  # attempts in 30 seconds
_OUTAGE_SHARE: Final = 0.5
_BUSY: Final = 10  # attempts that make a minute count for uptime
_GOOD: Final = 0.8  # of them
_MOST_MINUTES: Final = 20_000  # that wait to be told to others
_MOST_TALLIES: Final = 200_000
_AT_ONCE: Final = 500  # that are absorbed while nobody else can record


class Outcome(NamedTuple):
    """How an attempt went."""

    failure: Failure | None
    seconds: float  # it took
    prompt_tokens: int = 0
    retry_after: float | None = None  # seconds, as the provider said


class _Endpoint:
    """What was seen of one."""

    __slots__ = ("breaker", "fact", "fact_until", "fresh", "latency", "minutes", "recent", "throughput")

    def __init__(self) -> None:
        self.minutes = Minutes()
        self.recent = Recent()
        self.latency = Histogram(LATENCY)
        self.throughput = Histogram(THROUGHPUT)
        self.breaker = Breaker()
        self.fact = Facts()
        self.fact_until = 0.0  # its percentiles and tier are good as long
        self.fresh = False  # nothing failed since its outage was worked out


class Health:
    """One a process. Its methods belong to the event loop, but for an Observer's, which any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.time, jitter: Callable[[], float] = random.random) -> None:
        """clock: seconds since 1970. jitter: 0 to 1."""
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._endpoints: dict[str, _Endpoint] = {}
        self._credentials: dict[str, CredentialState] = {}
        self._untold: dict[tuple[str, int], list[int]] = {}  # by endpoint and minute: the counts of MinuteCounts
        self._untold_tallies: dict[tuple[str, int, Measure, int], int] = {}
        self._untold_pauses: dict[tuple[str, Reason], Pause] = {}

    # --- endpoints

    def record(self, endpoint: str, outcome: Outcome, *, pause: bool = True) -> None:
        """Count an attempt that ended. pause: whether a 429 speaks for the endpoint: no other credential may do.

        Of a caller's own credential record no `unauthorized` and no `payment`: they would count against the endpoint.
        """
        now = self._clock()
        with self._lock:
            state = self._endpoints.get(endpoint) or self._made(endpoint)
            failure = outcome.failure
            if failure is None:
                self._succeeded(endpoint, state, now, outcome)
            elif failure == "rate_limited":
                self._limited(endpoint, state, now, outcome.retry_after, pause=pause)
            else:
                self._failed(endpoint, state, now, failure)

    def facts(self, endpoint: str) -> Facts:
        """What the plan needs to know."""
        state = self._endpoints.get(endpoint)
        if state is None:
            return _UNKNOWN
        now = self._clock()
        with self._lock:
            if not (now < state.fact_until <= now + _FACTS_FOR):
                state.fact = _worked_out(state, now)
                state.fact_until, state.fresh = now + _FACTS_FOR, True
            elif not state.fresh:
                state.fact = state.fact._replace(outage=_is_outage(state.recent, now))
                state.fresh = True
            closed = state.breaker.closed(now)
        return state.fact if closed is None else _shut(state.fact, closed)

    def may_try(self, endpoint: str, seconds: float = PROBE) -> bool:
        """Whether to ask it now. After an outage only one at a time may; whoever does reports within so many seconds.

        Call it right before the attempt, and record the attempt's outcome.
        """
        state = self._endpoints.get(endpoint)
        if state is None:
            return True
        with self._lock:
            return state.breaker.may_try(self._clock(), seconds)

    def uptime(self, endpoint: str, seconds: float) -> float | None:
        """Percent of the minutes with at least 10 attempts in which at least 80 % succeeded; None if there are none."""
        state = self._endpoints.get(endpoint)
        if state is None:
            return None
        with self._lock:
            _, successes, failures, _, _ = state.minutes.columns(self._clock(), seconds)
        attempts = successes + failures
        busy = attempts >= _BUSY
        if not busy.any():
            return None
        return float(100.0 * np.mean(successes[busy] >= _GOOD * attempts[busy]))

    def percentiles(self, endpoint: str, measure: Measure, seconds: float) -> Percentiles | None:
        """Seconds, or prompt tokens a second that so many percent reach at least; None without a success.

        seconds: how far back, at most a day.
        """
        state = self._endpoints.get(endpoint)
        if state is None:
            return None
        with self._lock:
            return _percentiles(state, measure, self._clock(), seconds)

    def request_count(self, endpoint: str, seconds: float) -> int:
        """Attempts that succeeded, failed by the provider's fault or met a rate limit."""
        state = self._endpoints.get(endpoint)
        if state is None:
            return 0
        with self._lock:
            columns = state.minutes.columns(self._clock(), seconds)
        return int(sum(column.sum() for column in columns[1:4]))

    def minutes(self, endpoint: str) -> list[Minute]:
        """Every minute of the last three days in which something happened, the oldest first."""
        state = self._endpoints.get(endpoint)
        if state is None:
            return []
        with self._lock:
            return list(state.minutes.all(self._clock()))

    # --- credentials

    def credential_ready(self, credential: str) -> bool:
        """Whether it may be used now."""
        state = self._credentials.get(credential)
        if state is None:
            return True
        with self._lock:
            return not state.left(self._clock())

    def credential_pause(self, credential: str) -> float:
        """Seconds until it may be used; 0: now."""
        state = self._credentials.get(credential)
        if state is None:
            return 0.0
        with self._lock:
            return state.left(self._clock())

    def record_credential(self, credential: str, outcome: Outcome) -> None:
        """Count an attempt that was made with it."""
        state = self._credentials.get(credential)
        if state is None and outcome.failure is None:
            return
        now = self._clock()
        with self._lock:
            if state is None:
                state = self._credentials.setdefault(credential, CredentialState())
            reason = state.report(now, outcome.failure, outcome.retry_after)
            if reason is not None:
                rest = state.limit if reason == "rate_limited" else state.refusal
                self._paused(CREDENTIAL + credential, now, rest, reason)

    def lift_credential(self, credential: str) -> None:
        """Its secret was changed: forget what was seen of it, here and in the other processes."""
        with self._lock:
            self._credentials.pop(credential, None)
            subject = CREDENTIAL + credential
            self._untold_pauses.pop((subject, "rate_limited"), None)
            self._untold_pauses[subject, "failing"] = Pause(subject, 0.0, 0, "failing")

    # --- what processes tell each other: an Observer

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    def take(self, *, everything: bool = False) -> Observed:
        """What was seen since the last time. Histograms of the running minute only with everything."""
        running = int(self._clock()) // MINUTE * MINUTE
        with self._lock:
            untold, self._untold = self._untold, {}
            pauses, self._untold_pauses = self._untold_pauses, {}
            tallies, self._untold_tallies = self._untold_tallies, {}
            if not everything:
                self._untold_tallies = {key: count for key, count in tallies.items() if key[1] == running}
        return Observed(
            [MinuteCounts(*key, *counts) for key, counts in untold.items()],
            [Tally(*key, count) for key, count in tallies.items() if everything or key[1] != running],
            list(pauses.values()),
        )

    def absorb(self, others: Observed, *, fresh: bool) -> None:
        """Add what others saw. fresh: it happened just now."""
        now = self._clock()
        for minutes in _in_parts(others.minutes):
            with self._lock:
                for one in minutes:
                    self._absorb_minute(now, one, fresh=fresh)
        for tallies in _in_parts(others.tallies):
            with self._lock:
                for tally in tallies:
                    state = self._endpoints.get(tally.endpoint) or self._made(tally.endpoint)
                    histogram = state.latency if tally.measure == "latency" else state.throughput
                    histogram.add(now, tally.start, tally.bucket, tally.values)
        with self._lock:
            for pause in others.pauses:
                self._told(now, pause)

    def _absorb_minute(self, now: float, one: MinuteCounts, *, fresh: bool) -> None:
        state = self._endpoints.get(one.endpoint) or self._made(one.endpoint)
        state.minutes.add(now, Minute(*one[1:]))
        attempts = one.successes + one.failures
        if fresh and attempts > 0:
            state.recent.add(now, attempts, one.failures)
            state.fresh = state.fresh and not one.failures

    def _told(self, now: float, pause: Pause) -> None:
        seconds = max(0.0, pause.until - now)
        subject = pause.subject
        if subject.startswith(CREDENTIAL):
            credential = subject.removeprefix(CREDENTIAL)
            self._credentials.setdefault(credential, CredentialState()).told(now, seconds, pause.strikes, pause.reason)
        else:
            state = self._endpoints.get(subject) or self._made(subject)
            state.breaker.told(now, seconds, pause.strikes, pause.reason)

    # --- recording; under the lock

    def _made(self, endpoint: str) -> _Endpoint:
        state = self._endpoints[endpoint] = _Endpoint()
        return state

    def _succeeded(self, endpoint: str, state: _Endpoint, now: float, outcome: Outcome) -> None:
        minute = int(now) // MINUTE
        start = minute * MINUTE
        tokens, seconds = outcome.prompt_tokens, outcome.seconds
        state.minutes.succeeded(minute, tokens)
        state.recent.add(now, 1, 0)
        counts = self._counts(endpoint, start)
        counts[0] += 1
        counts[3] += tokens
        self._measured(endpoint, state.latency, now, start, "latency", LATENCY.bucket(seconds))
        if tokens > 0 and seconds > 0:
            bucket = THROUGHPUT.bucket(tokens / seconds)
            self._measured(endpoint, state.throughput, now, start, "throughput", bucket)
        state.breaker.report(now, "well", 0.0)

    def _measured(
        self, endpoint: str, histogram: Histogram, now: float, start: int, measure: Measure, bucket: int
    ) -> None:
        histogram.add(now, start, bucket)
        untold, key = self._untold_tallies, (endpoint, start, measure, bucket)
        known = untold.get(key)
        if known is None:
            if len(untold) >= _MOST_TALLIES:
                del untold[next(iter(untold))]  # the oldest
            known = 0
        untold[key] = known + 1

    def _failed(self, endpoint: str, state: _Endpoint, now: float, failure: Failure) -> None:
        if failure in _COUNTED:
            minute = int(now) // MINUTE
            state.minutes.failed(minute, rate_limited=False)
            state.recent.add(now, 1, 1)
            state.fresh = False
            self._counts(endpoint, minute * MINUTE)[1] += 1
        effect: Effect = "ill" if failure in _ILL else "nothing"
        if state.breaker.report(now, effect, self._jitter()):
            self._paused(endpoint, now, state.breaker.rest, "failing")

    def _limited(self, endpoint: str, state: _Endpoint, now: float, retry_after: float | None, *, pause: bool) -> None:
        minute = int(now) // MINUTE
        state.minutes.failed(minute, rate_limited=True)
        self._counts(endpoint, minute * MINUTE)[2] += 1
        if not pause:
            state.breaker.report(now, "nothing", 0.0)
        elif state.breaker.limited(now, retry_after):
            self._paused(endpoint, now, state.breaker.limit, "rate_limited")

    def _counts(self, endpoint: str, start: int) -> list[int]:
        untold, key = self._untold, (endpoint, start)
        counts = untold.get(key)
        if counts is None:
            if len(untold) >= _MOST_MINUTES:
                del untold[next(iter(untold))]  # the oldest
            counts = untold[key] = [0, 0, 0, 0]
        return counts

    def _paused(self, subject: str, now: float, rest: Rest, reason: Reason) -> None:
        self._untold_pauses[subject, reason] = Pause(subject, now + rest.left(now), rest.strikes, reason)


def _worked_out(state: _Endpoint, now: float) -> Facts:
    return Facts(
        outage=_is_outage(state.recent, now),
        tier=_tier(state.minutes, now),
        latency=_percentiles(state, "latency", now, _FACTS_OF),
        throughput=_percentiles(state, "throughput", now, _FACTS_OF),
    )


def _shut(facts: Facts, closed: Closed) -> Facts:
    return facts._replace(closed=True, retry_after=closed.seconds, reason=closed.reason)


def _is_outage(recent: Recent, now: float) -> bool:
    attempts, failures = recent.sums(now)
    return attempts >= _OUTAGE_FROM and failures >= _OUTAGE_SHARE * attempts


def _tier(minutes: Minutes, now: float) -> Tier:
    _, successes, failures, _, _ = minutes.columns(now, _TIER_OF)
    good, bad = int(successes.sum()), int(failures.sum())
    attempts = good + bad
    if attempts < _TIER_FROM or 100 * good >= 95 * attempts:
        return "normal"
    return "degraded" if 100 * good >= 80 * attempts else "down"


def _percentiles(state: _Endpoint, measure: Measure, now: float, seconds: float) -> Percentiles | None:
    if measure == "latency":
        return state.latency.percentiles(now, seconds)
    return state.throughput.percentiles(now, seconds, falling=True)


def _in_parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


_UNKNOWN: Final = Facts()
