"""What is remembered of one of a provider's credentials: whether it is to be used now."""

from typing import Final

from embedrouter.ledger.observed import Reason
from embedrouter.providers.wire import Failure
from embedrouter.routing.breaker import Rest

_REFUSED: Final = 600.0  # seconds; a revoked key or an empty balance is not repaired sooner, as a rule
_REFUSED_LONGEST: Final = 3_600.0
_RATE_FIRST: Final = 1.0
_RATE_LONGEST: Final = 2.0  # a guess must not outlast what a request is willing to wait
_TOLD_LONGEST: Final = 3_600.0  # of a provider's own Retry-After: its limit may be a day's


class CredentialState:
    """What was seen of one credential."""

    __slots__ = ("limit", "refusal")

    def __init__(self) -> None:
        self.limit = Rest()  # after a 429
        self.refusal = Rest()  # after a 401, 403 or 402

    def left(self, now: float) -> float:
        """Seconds until it may be used."""
        return max(self.limit.left(now), self.refusal.left(now))

    def report(self, now: float, failure: Failure | None, retry_after: float | None) -> Reason | None:
        """How an attempt with it went; why its pause became longer. Only some failures tell of the credential."""
        if failure == "rate_limited":
            told = None if retry_after is None else min(max(retry_after, 0.0), _TOLD_LONGEST)
            return "rate_limited" if self.limit.strike(now, told, _RATE_FIRST, _RATE_LONGEST) else None
        if failure in ("unauthorized", "payment"):
            return "failing" if self.refusal.strike(now, None, _REFUSED, _REFUSED_LONGEST) else None
        if failure is None and not self.left(now):  # what comes while it is paused was under way before
            self.limit.strikes = self.refusal.strikes = 0
        return None

    def told(self, now: float, seconds: float, strikes: int, reason: Reason) -> None:
        """Another process paused it for so long from now on; 0: lifted."""
        if seconds <= 0.0:
            self.lift()
            return
        rest = self.limit if reason == "rate_limited" else self.refusal
        rest.extend(now, min(seconds, _TOLD_LONGEST))
        rest.strikes = max(rest.strikes, strikes)

    def lift(self) -> None:
        """Forget all: the secret was changed."""
        self.limit, self.refusal = Rest(), Rest()
