"""What processes tell each other about endpoints' health. Plain structs: routing makes them, the ledger keeps them."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

Measure = Literal["latency", "throughput"]
Reason = Literal["rate_limited", "failing"]
MINUTE = 60  # seconds


class MinuteCounts(NamedTuple):
    """Attempts at an endpoint in one minute."""

    endpoint: str
    minute: int  # its first second
    successes: int
    failures: int  # that count against uptime
    rate_limited: int
    prompt_tokens: int


class Tally(NamedTuple):
    """How many values fell into a bucket of a histogram, in one minute or, of what is long ago, in half an hour."""

    endpoint: str
    start: int  # seconds
    measure: Measure
    bucket: int
    values: int


class Pause(NamedTuple):
    """Something is not asked for a while."""

    subject: str  # an endpoint's id, or `credential:` and a credential's
    until: float  # seconds by this process's clock; what is past tells that the pause is lifted
    strikes: int  # in a row: how long the next pause will be
    reason: Reason


class Observed(NamedTuple):
    """What a process saw since it was last asked."""

    minutes: Sequence[MinuteCounts] = ()
    tallies: Sequence[Tally] = ()
    pauses: Sequence[Pause] = ()


class Observer(Protocol):
    """Who sees, and is told what others saw. Thread-safe."""

    def now(self) -> float:
        """Seconds since 1970, by its clock."""
        ...

    def take(self, *, everything: bool = False) -> Observed:
        """What was seen since the last time, each thing once. Histograms of the running minute only with the rest."""
        ...

    def absorb(self, others: Observed, *, fresh: bool) -> None:
        """Add what others saw. fresh: it happened just now."""
        ...
