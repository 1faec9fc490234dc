"""When an endpoint is asked and when it is not."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embedrouter.ledger.observed import Reason
from embedrouter.providers.wire import Failure
from embedrouter.routing.breaker import Breaker
from embedrouter.routing.facts import Facts
from embedrouter.routing.health import Health, Outcome
from routing.clock import NOON, A, Clock, seen

_REASONS: tuple[Reason, ...] = ("rate_limited", "failing")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, jitter=lambda: 0.0)


def _shut(health: Health) -> float | None:
    """Seconds; None: it lets something through."""
    facts = health.facts(A)
    assert facts.closed == (facts.retry_after is not None) == (facts.reason is not None)
    return facts.retry_after


def test_five_failures_in_a_row_close_it_for_a_second(health: Health, clock: Clock) -> None:
    seen(health, "server", 4)
    assert not health.facts(A).closed
    seen(health, "timeout")
    facts = health.facts(A)
    assert (facts.closed, facts.retry_after, facts.reason) == (True, 1.0, "failing")
    assert not health.may_try(A)
    clock.pass_(1.0)
    assert not health.facts(A).closed
    assert health.may_try(A)


def test_a_success_between_starts_the_row_anew(health: Health) -> None:
    for _ in range(4):
        seen(health, "server", 2)
        seen(health, times=1)
    assert _shut(health) is None


def test_half_of_twenty_failed_attempts_close_it_also_in_no_row(health: Health) -> None:
    for _ in range(9):
        seen(health)
        seen(health, "overloaded")
    seen(health)
    assert _shut(health) is None
    seen(health, "overloaded")
    assert _shut(health) == 1.0


@pytest.mark.parametrize("failure", ["invalid_request", "too_long", "refused", "unauthorized", "payment"])
def test_what_says_nothing_of_the_endpoint_never_closes_it(health: Health, failure: Failure) -> None:
    seen(health, failure, 100)
    assert _shut(health) is None


def test_half_open_lets_one_probe_through_and_a_success_closes_the_matter(health: Health, clock: Clock) -> None:
    seen(health, "server", 5)
    clock.pass_(1)
    assert [health.may_try(A) for _ in range(3)] == [True, False, False]
    assert health.facts(A).reason == "failing"
    seen(health)
    assert [health.may_try(A) for _ in range(3)] == [True, True, True]
    seen(health, "server", 4)  # what opened it is forgotten
    assert _shut(health) is None


def test_each_failed_probe_doubles_the_time_up_to_a_minute(health: Health, clock: Clock) -> None:
    seen(health, "server", 5)
    times = []
    for _ in range(9):
        left = _shut(health)
        assert left is not None
        times.append(round(left, 3))
        clock.pass_(left)
        assert health.may_try(A)
        seen(health, "server")
    assert times == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_one_that_fails_again_soon_stays_closed_longer_and_one_that_was_calm_does_not(
    health: Health, clock: Clock
) -> None:
    def again() -> float | None:
        seen(health, "server", 5)
        left = _shut(health)
        assert left is not None
        clock.pass_(left)
        assert health.may_try(A)
        seen(health)
        return round(left, 3)

    assert [again(), again()] == [1, 2]
    clock.pass_(61)
    assert again() == 1


def test_a_probe_that_never_reports_back_frees_its_place(health: Health, clock: Clock) -> None:
    seen(health, "server", 5)
    clock.pass_(1)
    assert health.may_try(A, 5.0)
    clock.pass_(4.9)
    assert not health.may_try(A, 5.0)
    clock.pass_(0.2)
    assert health.may_try(A, 5.0)


@pytest.mark.parametrize("failure", ["invalid_request", "unauthorized"])
def test_a_probe_that_tells_nothing_makes_room_for_the_next(health: Health, clock: Clock, failure: Failure) -> None:
    seen(health, "server", 5)
    clock.pass_(1)
    assert health.may_try(A)
    seen(health, failure)
    assert [health.may_try(A), health.may_try(A)] == [True, False]


def test_what_was_under_way_when_it_closed_changes_nothing(health: Health) -> None:
    seen(health, "server", 5)
    seen(health, "server", 20)
    seen(health, times=3)
    assert _shut(health) == 1.0


def test_jitter_shortens_the_time_by_up_to_a_quarter(clock: Clock) -> None:
    health = Health(clock, jitter=lambda: 1.0)
    seen(health, "server", 5)
    assert _shut(health) == pytest.approx(0.75)


def test_retry_after_is_obeyed_up_to_a_minute(health: Health, clock: Clock) -> None:
    seen(health, "rate_limited", retry_after=7.5)
    facts = health.facts(A)
    assert (facts.closed, facts.retry_after, facts.reason) == (True, 7.5, "rate_limited")
    clock.pass_(7.4)
    assert not health.may_try(A)
    clock.pass_(0.2)
    assert [health.may_try(A), health.may_try(A)] == [True, True]  # no probing: it is well, it was only busy
    seen(health, "rate_limited", retry_after=86_400)
    assert _shut(health) == 60.0


def test_a_shorter_retry_after_does_not_shorten_the_pause(health: Health) -> None:
    seen(health, "rate_limited", retry_after=20)
    seen(health, "rate_limited", retry_after=1)
    assert _shut(health) == 20.0


def test_429s_without_a_time_double_theirs_up_to_two_seconds(health: Health, clock: Clock) -> None:
    times = []
    for _ in range(7):
        seen(health, "rate_limited", 3)  # those under way count as one
        left = _shut(health)
        assert left is not None
        times.append(round(left, 3))
        clock.pass_(left)
    assert times == [1, 2, 2, 2, 2, 2, 2]
    seen(health)
    seen(health, "rate_limited")
    assert _shut(health) == pytest.approx(1.0)


def test_a_429_does_not_pause_the_endpoint_where_another_credential_may_do(health: Health) -> None:
    health.record(A, Outcome("rate_limited", 0.1, 0, 30.0), pause=False)
    assert _shut(health) is None
    assert health.minutes(A)[0].rate_limited == 1


def test_a_clock_set_back_does_not_close_it_for_longer(health: Health, clock: Clock) -> None:
    seen(health, "server", 5)
    clock.pass_(-3_600)
    left = _shut(health)
    assert left is not None
    assert left <= 1.0
    clock.pass_(1.1)
    assert health.may_try(A)


def test_endpoints_do_not_share_their_fate(health: Health) -> None:
    seen(health, "server", 5)
    assert health.facts("author/model two") == Facts()


class Breaking(RuleBasedStateMachine):
    """Whatever happens: closed means closed, one probe at a time, and never for longer than a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.at = NOON
        self.breaker = Breaker()
        self.in_a_row = 0
        self.probing_until = 0.0

    @rule(seconds=st.floats(0.01, 90.0))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds

    @rule()
    def somebody_tries(self) -> None:
        closed = self.breaker.closed(self.at)
        assert self.breaker.may_try(self.at, 10.0) == (closed is None)
        if closed is None and self.breaker.open:
            assert self.at >= self.probing_until  # the one before reported, or its time is over
            assert not self.breaker.may_try(self.at, 10.0)
            self.probing_until = self.at + 10.0

    @rule()
    def it_succeeds(self) -> None:
        resting = self.breaker.open and self.breaker.rest.left(self.at) > 0
        assert not self.breaker.report(self.at, "well", 0.5)
        assert self.breaker.open == resting  # only a rest that is not over outlives a success
        if not resting:
            self.in_a_row, self.probing_until = 0, 0.0

    @rule(jitter=st.floats(0.0, 1.0))
    def it_fails(self, jitter: float) -> None:
        was_open, resting = self.breaker.open, self.breaker.rest.left(self.at) > 0
        opened = self.breaker.report(self.at, "ill", jitter)
        self.in_a_row += 1
        if was_open:
            assert opened != resting  # a failed probe closes it again, a late failure does nothing
        elif self.in_a_row >= 5:
            assert opened
        if opened:
            self.probing_until = 0.0
            assert 0.75 - 1e-6 <= self.breaker.rest.left(self.at) <= 60.0 + 1e-6

    @rule(seconds=st.none() | st.floats(0.0, 1_000.0))
    def it_is_limited(self, seconds: float | None) -> None:
        before = self.breaker.limit.left(self.at)
        self.breaker.limited(self.at, seconds)
        self.probing_until = 0.0
        wanted = 1.0 if seconds is None and not before else min(seconds or 0.0, 60.0)
        assert self.breaker.limit.left(self.at) >= max(before, wanted) - 1e-6

    @rule(seconds=st.floats(0.0, 100.0), strikes=st.integers(1, 10), reason=st.sampled_from(_REASONS))
    def another_process_tells(self, seconds: float, strikes: int, reason: Reason) -> None:
        before, was_open = self.breaker.closed(self.at), self.breaker.open
        self.breaker.told(self.at, seconds, strikes, reason)
        assert was_open <= self.breaker.open
        if before is not None and before.seconds > 1.0:
            assert self.breaker.closed(self.at) is not None
        if self.breaker.open and self.breaker.rest.left(self.at) > 0:
            self.probing_until = 0.0

    @invariant()
    def it_is_never_closed_for_longer_than_a_minute(self) -> None:
        closed = self.breaker.closed(self.at)
        assert closed is None or 0.0 < closed.seconds <= 60.0 + 1e-6

    @invariant()
    def five_in_a_row_have_closed_it(self) -> None:
        assert self.breaker.open or self.in_a_row < 5

    def teardown(self) -> None:
        assert self.breaker.may_try(self.at + 61.0, 10.0)  # a minute without news opens every door


TestBreaking = Breaking.TestCase
