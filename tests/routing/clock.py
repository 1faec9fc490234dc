"""A clock that tests turn by hand."""

from embedrouter.providers.wire import Failure
from embedrouter.routing.health import Health, Outcome

NOON = 1_772_625_600.0  # Wednesday, 4 March 2026, 12:00 UTC
A = "author/model one"


class Clock:
    """Starts at noon."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += seconds


def seen(
    health: Health, failure: Failure | None = None, times: int = 1, *, endpoint: str = A, seconds: float = 0.1,
    tokens: int = 10, retry_after: float | None = None,
) -> None:  # fmt: skip
    """Record the same outcome so many times."""
    for _ in range(times):
        health.record(endpoint, Outcome(failure, seconds, tokens, retry_after))
