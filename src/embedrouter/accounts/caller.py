"""Who asks, and by which limits: a key, seen by the parts of a request's road that need it."""

from typing import NamedTuple

from embedrouter.accounts.keys import ApiKey
from embedrouter.accounts.ring import KeyRing
from embedrouter.catalog.constraints import FREE, Constraints
from embedrouter.errors import AuthenticationError, OverloadedError, PermissionDeniedError
from embedrouter.ledger.credits import ACCOUNT
from embedrouter.ledger.payer import Payer
from embedrouter.settings import Billing


class Caller(NamedTuple):
    """A usable key."""

    key: ApiKey
    payer: Payer
    public: bool  # counts in rankings
    constraints: Constraints = FREE  # of its workspace and its guardrails

    def require_inference(self) -> None:
        """Raise PermissionDeniedError for a management key."""
        if self.key.management:
            raise PermissionDeniedError("Management keys manage, and never embed; create an API key with POST /keys")

    def require_management(self) -> None:
        """Raise PermissionDeniedError for any other key."""
        if not self.key.management:
            raise PermissionDeniedError("Only management keys can perform this operation")


class Gatekeeper:
    """Turns a secret into a caller."""

    def __init__(self, ring: KeyRing, billing: Billing) -> None:
        self._ring = ring
        self._billing = billing

    def admit(self, secret: str, at: int) -> Caller:
        """at: now, in microseconds. Raises AuthenticationError, OverloadedError."""
        key = self._ring.find(secret)
        if key is None or key.deleted_at is not None:
            raise AuthenticationError("The API key is not valid")
        if not key.usable(at):
            raise AuthenticationError(f"The API key is {'disabled' if key.disabled else 'expired'}")
        return self.admit_key(key)

    def admit_again(self, key_id: int, at: int) -> Caller:
        """Who asked before, maybe elsewhere, with the rules of now. Raises AuthenticationError, OverloadedError."""
        key = self._ring.get(key_id)
        if key is None:
            raise OverloadedError("The API key is not known here yet", retry_after=1)
        if not key.usable(at):
            how = "deleted" if key.deleted_at else "disabled" if key.disabled else "expired"
            raise AuthenticationError(f"The API key is {how} by now")
        return self.admit_key(key)

    def admit_key(self, key: ApiKey) -> Caller:
        """The same for a usable key that is known already. Raises OverloadedError."""
        workspace, terms = self._ring.workspace(key), self._ring.terms(key)
        payer = Payer(
            key_id=key.id,
            workspace_id=key.workspace_id,
            account_id=ACCOUNT,
            key_limit=None if key.limit_pico is None else key.limit_reset or "total",
            budgets=workspace.budgets,
            guardrails=terms.budgets,
            enforce_balance=self._billing == "enforce",
            requests_per_minute=key.requests_per_minute,
            tokens_per_minute=key.tokens_per_minute,
            max_concurrent=key.max_concurrent,
        )
        return Caller(key, payer, public=workspace.in_rankings and not key.private, constraints=terms.constraints)
