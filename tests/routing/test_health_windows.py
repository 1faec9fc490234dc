"""What attempts leave behind: uptime, tiers, outages, percentiles, minutes."""

from typing import get_args

import numpy as np
import pytest

from embedrouter.ledger.scales import GROWTH
from embedrouter.providers.wire import Failure
from embedrouter.routing.facts import Facts, Tier
from embedrouter.routing.health import Health
from embedrouter.routing.windows import Minute
from routing.clock import NOON, A, Clock, seen

_COUNTED = {"unauthorized", "payment", "not_found", "server", "overloaded", "timeout", "invalid_answer"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, jitter=lambda: 0.0)


def test_an_endpoint_that_nobody_asked_is_normal(health: Health) -> None:
    assert health.facts(A) == Facts()
    assert health.uptime(A, 300) is None
    assert health.percentiles(A, "latency", 300) is None
    assert (health.request_count(A, 300), health.minutes(A), health.may_try(A)) == (0, [], True)


@pytest.mark.parametrize("failure", get_args(Failure))
def test_only_the_provider_s_own_failures_count_against_it(health: Health, failure: Failure) -> None:
    seen(health, failure)
    [minute] = health.minutes(A) or [Minute(0, 0, 0, 0, 0)]
    assert minute.failures == (failure in _COUNTED)
    assert minute.rate_limited == (failure == "rate_limited")
    assert minute.successes == minute.prompt_tokens == 0


def test_uptime_is_the_share_of_good_minutes_among_busy_ones(health: Health, clock: Clock) -> None:
    for good, bad in ((8, 2), (7, 3), (10, 0), (0, 9), (9, 0)):  # good, bad, good, idle, idle
        seen(health, times=good)
        seen(health, "server", bad)
        seen(health, "rate_limited", 50)
        seen(health, "invalid_request", 50)
        clock.pass_(60)
    assert health.uptime(A, 1_800) == pytest.approx(200 / 3)


def test_uptime_forgets_what_is_older_than_its_window(health: Health, clock: Clock) -> None:
    seen(health, "timeout", 10)
    clock.pass_(20 * 60)
    seen(health, times=10)
    assert (health.uptime(A, 300), health.uptime(A, 1_800)) == (100.0, 50.0)
    clock.pass_(15 * 60)
    assert (health.uptime(A, 300), health.uptime(A, 1_800), health.uptime(A, 86_400)) == (None, 100.0, 50.0)


@pytest.mark.parametrize(
    ("good", "bad", "tier"),
    [(95, 5, "normal"), (94, 6, "degraded"), (80, 20, "degraded"), (79, 21, "down"), (0, 99, "normal")],
)
def test_tiers_are_those_of_the_reference_and_need_a_hundred_attempts(
    health: Health, clock: Clock, good: int, bad: int, tier: Tier
) -> None:
    seen(health, times=good)
    seen(health, "server", bad)
    clock.pass_(2)  # facts may be a second old
    assert health.facts(A).tier == tier
    clock.pass_(32 * 60)
    assert health.facts(A).tier == "normal"


def test_an_outage_is_seen_at_once_and_lasts_thirty_seconds(health: Health, clock: Clock) -> None:
    seen(health, times=2)
    assert not health.facts(A).outage
    seen(health, "server")
    assert not health.facts(A).outage  # one of three
    seen(health, "server")
    assert health.facts(A).outage  # two of four
    clock.pass_(28)
    assert health.facts(A).outage
    clock.pass_(3)
    assert not health.facts(A).outage


def test_two_failures_are_no_outage(health: Health) -> None:
    seen(health, "timeout", 2)
    assert not health.facts(A).outage


def test_percentiles_are_the_values_own_to_a_bucket_s_width(health: Health) -> None:
    random = np.random.default_rng(5)
    times = random.lognormal(-2, 1, 3_000)
    for seconds in times:
        seen(health, seconds=float(seconds), tokens=100)
    latency, throughput = (health.percentiles(A, measure, 300) for measure in ("latency", "throughput"))
    assert latency is not None
    assert throughput is not None
    for index, percent in enumerate((50, 75, 90, 99)):
        wanted = np.percentile(times, percent, method="inverted_cdf")
        assert wanted / GROWTH < latency[index] < wanted * GROWTH
        # So many percent of the requests reach it: the slow end.
        least = np.percentile(-100 / times, percent, method="inverted_cdf") * -1
        assert least / GROWTH < throughput[index] < least * GROWTH
    assert throughput.p99 < throughput.p90 < throughput.p75 < throughput.p50
    facts = health.facts(A)
    assert (facts.latency, facts.throughput) == (latency, throughput)


def test_percentiles_forget_what_is_older_than_their_window(health: Health, clock: Clock) -> None:
    seen(health, seconds=1.0)
    clock.pass_(10 * 60)
    seen(health, seconds=0.001)
    short, long = (health.percentiles(A, "latency", seconds) for seconds in (300, 1_800))
    assert short is not None
    assert long is not None
    assert short.p99 < 0.0011
    assert 0.9 < long.p99 < 1.1
    clock.pass_(24 * 3_600)
    day = health.percentiles(A, "latency", 86_400)
    assert day is None or day.p50 < 0.0011
    clock.pass_(3_600)
    assert health.percentiles(A, "latency", 86_400) is None


def test_failures_and_their_times_are_in_no_histogram(health: Health) -> None:
    seen(health, "timeout", seconds=60)
    assert health.percentiles(A, "latency", 300) is None


def test_minutes_are_kept_for_three_days_in_order(health: Health, clock: Clock) -> None:
    seen(health, tokens=7, times=2)
    clock.pass_(60)
    seen(health, "rate_limited")
    clock.pass_(3 * 86_400 - 120)
    seen(health, "server")
    minutes = health.minutes(A)
    assert minutes == [
        Minute(int(NOON), 2, 0, 0, 14),
        Minute(int(NOON) + 60, 0, 0, 1, 0),
        Minute(int(NOON) + 3 * 86_400 - 60, 0, 1, 0, 0),
    ]
    clock.pass_(60)
    assert health.minutes(A) == minutes[1:]


def test_a_clock_that_jumps_leaves_no_wrong_counts(health: Health, clock: Clock) -> None:
    seen(health, times=20)
    clock.pass_(365 * 86_400)
    assert health.request_count(A, 86_400) == 0
    seen(health, "server", times=3)
    clock.pass_(-365 * 86_400)
    seen(health, times=5)
    clock.pass_(2)
    assert health.uptime(A, 300) == 100.0
    assert not health.facts(A).outage
    assert health.percentiles(A, "latency", 300) is not None
