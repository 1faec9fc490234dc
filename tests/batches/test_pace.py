"""What batches decide by themselves: when a line is tried again, and how many are under way."""

import asyncio

import pytest

from embedrouter.batches.calls import Failing, wait_before_again
from embedrouter.batches.gate import Gate, Width, pace
from embedrouter.errors import (
    EmbedRouterError,
    InvalidRequestError,
    OverloadedError,
    PaymentRequiredError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitExceededError,
)
from embedrouter.telemetry.metrics import Metrics


def _often(tries: int) -> Failing:
    """Beside lines that succeed."""
    return Failing(tries, 4.0, others_succeed=True)


@pytest.mark.parametrize(
    ("error", "failing", "wait"),
    [
        (InvalidRequestError("x"), _often(1), None),
        (PaymentRequiredError("x"), _often(1), None),
        (EmbedRouterError("x"), _often(1), None),
        (OverloadedError("x"), _often(1), 0.25),
        (OverloadedError("x", retry_after=7), _often(1), 7.0),
        (RateLimitExceededError("x", retry_after=300), _often(2), 30.0),
        (RateLimitExceededError("x", retry_after=1), _often(1_000_000), 30.0),
        (RateLimitExceededError("no waiting helps"), _often(1), None),
        (ProviderUnavailableError("x"), _often(3), 1.0),
        (ProviderUnavailableError("x"), _often(5), None),
        (ProviderUnavailableError("x"), Failing(5, 4.0, others_succeed=False), 4.0),
        (ProviderUnavailableError("x"), Failing(20, 299.0, others_succeed=False), 30.0),
        (ProviderUnavailableError("x"), Failing(20, 300.0, others_succeed=False), None),
        (ProviderUnavailableError("x"), Failing(1, 300.0, others_succeed=False), 0.25),
        (ProviderTimeoutError("x"), _often(5), None),
    ],
)
def test_what_may_pass_is_waited_for_and_what_will_not_is_not(
    error: EmbedRouterError, failing: Failing, wait: float | None
) -> None:
    assert wait_before_again(error, failing) == wait


def test_few_lines_are_under_way_beside_requests_and_many_without() -> None:
    metrics = Metrics({})
    idle = pace(metrics)
    metrics.in_flight = 1
    busy = pace(metrics)
    assert busy.lines < 8 < idle.lines
    metrics.in_flight = 0
    metrics.answered(200, 0.01)
    assert pace(metrics) == busy  # the next request is likely soon


def test_a_gate_lets_lines_in_by_number_and_size_and_any_alone() -> None:
    async def scene() -> None:
        width = [Width(2, 100)]
        gate = Gate(lambda: width[0])
        entered: list[str] = []

        async def line(name: str, size: int) -> None:
            await gate.enter(size)
            entered.append(name)

        async def waits(name: str, size: int) -> "asyncio.Task[None]":
            task = asyncio.create_task(line(name, size))
            await asyncio.sleep(0)
            return task

        await waits("huge", 1_000)
        assert entered == ["huge"]
        second, third, gone = await waits("second", 60), await waits("third", 60), await waits("gone", 1)
        assert entered == ["huge"]
        gate.leave(1_000)
        await second
        assert entered == ["huge", "second"]  # both would be too big
        gone.cancel()
        gate.leave(60)
        await third
        width[0] = Width(1, 100)
        await waits("fourth", 1)
        assert entered == ["huge", "second", "third"]
        gate.leave(60)
        await asyncio.sleep(0)
        assert entered[-1] == "fourth"

    asyncio.run(scene())
