"""Which of a provider's credentials are not to be used for a while."""

from typing import get_args

import pytest

from embedrouter.providers.wire import Failure
from embedrouter.routing.health import Health, Outcome
from routing.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, jitter=lambda: 0.0)


def _used(health: Health, credential: str, failure: Failure | None, retry_after: float | None = None) -> None:
    health.record_credential(credential, Outcome(failure, 0.1, 10, retry_after))


@pytest.mark.parametrize("failure", get_args(Failure))
def test_only_what_is_the_credential_s_own_pauses_it(health: Health, failure: Failure) -> None:
    _used(health, "c1", failure)
    assert health.credential_ready("c1") == (failure not in ("unauthorized", "payment", "rate_limited"))
    assert health.credential_ready("c2")


@pytest.mark.parametrize("failure", ["unauthorized", "payment"])
def test_a_refused_one_pauses_for_ten_minutes_and_longer_each_time(
    health: Health, clock: Clock, failure: Failure
) -> None:
    pauses = []
    for _ in range(5):
        _used(health, "c1", failure)
        _used(health, "c1", failure)  # was under way
        pauses.append(health.credential_pause("c1"))
        clock.pass_(pauses[-1])
        assert health.credential_ready("c1")
    assert pauses == [600, 1_200, 2_400, 3_600, 3_600]
    _used(health, "c1", None)
    _used(health, "c1", failure)
    assert health.credential_pause("c1") == 600


def test_a_limited_one_waits_for_its_retry_after(health: Health, clock: Clock) -> None:
    _used(health, "c1", "rate_limited", 20)
    assert (health.credential_pause("c1"), health.credential_ready("c2")) == (20, True)
    clock.pass_(19)
    assert not health.credential_ready("c1")
    clock.pass_(1)
    assert health.credential_ready("c1")


def test_a_limited_one_without_a_time_waits_longer_each_time(health: Health, clock: Clock) -> None:
    pauses = []
    for _ in range(6):
        _used(health, "c1", "rate_limited")
        pauses.append(health.credential_pause("c1"))
        clock.pass_(pauses[-1])
    assert pauses == [1, 2, 2, 2, 2, 2]


def test_a_new_secret_is_tried_at_once(health: Health) -> None:
    _used(health, "c1", "unauthorized")
    health.lift_credential("c1")
    assert health.credential_ready("c1")
