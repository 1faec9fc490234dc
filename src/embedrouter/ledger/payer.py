"""Who pays for a request, and by which limits."""

from typing import NamedTuple

from embedrouter.ledger.claims import Claim
from embedrouter.periods import Period, start_of


class Payer(NamedTuple):
    """What the ledger must know of a key."""

    key_id: int
    workspace_id: str
    account_id: str
    key_limit: Period | None = None  # the period of the key's limit; None: no limit
    budgets: tuple[Period, ...] = ()  # of its workspace
    guardrails: tuple[tuple[str, Period], ...] = ()  # those with a budget, and its period
    enforce_balance: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None

    @property
    def limited(self) -> bool:
        """Whether a request of this payer must be admitted by the database."""
        return (
            self.enforce_balance
            or self.key_limit is not None
            or bool(self.budgets)
            or bool(self.guardrails)
            or self.rated
            or self.max_concurrent is not None
        )

    @property
    def rated(self) -> bool:
        """Whether it may have only so much a minute."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

    @property
    def place(self) -> "Payer":
        """Nothing but its place among those that may run at once."""
        return Payer(self.key_id, self.workspace_id, self.account_id, max_concurrent=self.max_concurrent)

    def claims(self, at: int) -> tuple[Claim, ...]:
        """What a request admitted at `at` (microseconds) must fit; always in the same order, so that none deadlock."""
        found = [Claim("account", self.account_id, "total", 0)] if self.enforce_balance else []
        found += [Claim("workspace", self.workspace_id, period, start_of(period, at)) for period in self.budgets]
        found += [Claim("guardrail", of, period, start_of(period, at)) for of, period in self.guardrails]
        if self.key_limit is not None:
            found.append(Claim("key", str(self.key_id), self.key_limit, start_of(self.key_limit, at)))
        return tuple(found)
