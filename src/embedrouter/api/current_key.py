"""GET /key: what a key may, and what it has used, told to whoever holds it."""

from typing import Any, Final, Literal

import msgspec
from litestar import Request, get

from embedrouter.accounts.caller import Caller
from embedrouter.accounts.guardrails import default_id
from embedrouter.accounts.keys import ApiKey
from embedrouter.api.auth import ANY_KEY, caller_of
from embedrouter.api.keys import Usage, iso_or_none, limit_of, usage_of
from embedrouter.context import Context
from embedrouter.ledger.book import now
from embedrouter.ledger.spent import (
    NOTHING,
    Budget,
    Spent,
    budgets_of,
    limits_of_guardrails,
    spent_by_guardrails,
    spent_by_keys,
    spent_by_workspace,
)
from embedrouter.money import usd
from embedrouter.periods import RESET_OF, SECOND, Reset, end_of, iso

Scope = Literal["workspace_default_key", "api_key", "workspace", "key_limit"]


class KeyBudget(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that requests of this key must fit.

    `workspace`: of all keys of its workspace together. `workspace_default_key`: its workspace's default guardrail's.
    `api_key`: its own guardrail's.
    """

    scope: Scope
    guardrail_id: str | None = None
    budget_id: str | None = None
    limit_usd: float
    spend_usd: float
    remaining_usd: float  # what requests under way hold is gone, too
    reset_interval: Reset | None
    resets_at: str | None
    include_byok: bool  # whether what own credentials pay for counts in it, and in spend_usd


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The key's requests a minute; -1: not limited."""

    requests: int
    interval: str
    note: str


class FreeRequests(msgspec.Struct, frozen=True, kw_only=True):
    """Of free models, of which there are none."""

    limit: int = 0
    remaining: int = 0
    used: int = 0


class CurrentKey(Usage, frozen=True, kw_only=True):
    """The key that asks."""

    label: str
    limit: float | None
    limit_remaining: float | None
    limit_reset: Reset | None
    include_byok_in_limit: bool
    is_free_tier: bool = False
    is_management_key: bool
    is_provisioning_key: bool  # the old name
    creator_user_id: str | None
    expires_at: str | None
    rate_limit: RateLimit
    allowed_data_regions: tuple[str, ...] = ("global",)
    budgets: list[KeyBudget]
    effective_budget: KeyBudget | None  # the one with the least left
    free_model_daily_requests: FreeRequests
    organization_id: str | None = None
    workspace_id: str


class CurrentKeyAnswer(msgspec.Struct, frozen=True):
    """What GET /key answers."""

    data: CurrentKey


_UNLIMITED: Final = RateLimit(requests=-1, interval="10s", note="This key has no limit of requests.")


@get("/key", summary="Get the key that asks", tags=["API keys"], operation_id="getCurrentKey", opt=ANY_KEY)
async def get_current_key(request: Request[Any, Any, Any], context: Context) -> CurrentKeyAnswer:
    """Its limit, its usage, and the budgets it shares."""
    return await _answer(context, caller_of(request))


@get("/auth/key", include_in_schema=False, opt=ANY_KEY)
async def get_auth_key(request: Request[Any, Any, Any], context: Context) -> CurrentKeyAnswer:
    """The old path of the same."""
    return await _answer(context, caller_of(request))


async def _answer(context: Context, caller: Caller) -> CurrentKeyAnswer:
    key, at = caller.key, now()
    guarded = [id_ for id_, _ in caller.payer.guardrails]

    def query(connection: Any) -> tuple[Spent, list[KeyBudget]]:
        spent = spent_by_keys(connection, [key.id], at).get(key.id, NOTHING)
        together = spent_by_workspace(connection, key.workspace_id, at)
        of_guardrails = spent_by_guardrails(connection, guarded, at)
        budgets = [
            _budget(
                "workspace_default_key" if id_ == default_id(key.workspace_id) else "api_key",
                limit,
                of_guardrails.get(id_, NOTHING),
                at,
                id_,
            )
            for id_, limit in limits_of_guardrails(connection, guarded).items()
        ]
        budgets += [_budget("workspace", limit, together, at) for limit in budgets_of(connection, key.workspace_id)]
        if key.limit_pico is not None:
            limit = Budget(key.limit_reset or "total", key.limit_pico, key.include_byok_in_limit)
            budgets.append(_budget("key_limit", limit, spent, at))
        return spent, budgets

    spent, budgets = await context.database.read(query)
    return CurrentKeyAnswer(
        CurrentKey(
            **usage_of(spent),
            **limit_of(key, spent),
            label=key.label,
            is_management_key=key.management,
            is_provisioning_key=key.management,
            creator_user_id=key.owner_id,
            expires_at=iso_or_none(key.expires_at),
            rate_limit=_rate_limit(key),
            budgets=budgets,
            effective_budget=min(budgets, key=lambda budget: budget.remaining_usd, default=None),
            free_model_daily_requests=FreeRequests(),
            workspace_id=key.workspace_id,
        )
    )


def _budget(scope: Scope, limit: Budget, spent: Spent, at: int, guardrail_id: str | None = None) -> KeyBudget:
    period, limit_pico, byok = limit
    ends = end_of(period, at)
    return KeyBudget(
        scope=scope,
        guardrail_id=guardrail_id,
        limit_usd=usd(limit_pico),
        spend_usd=usd(spent.of(period).counted(byok=byok).spent_pico),
        remaining_usd=usd(spent.left(limit_pico, period, byok=byok)),
        reset_interval=RESET_OF.get(period),
        resets_at=None if ends is None else iso(ends * SECOND),
        include_byok=byok,
    )


def _rate_limit(key: ApiKey) -> RateLimit:
    if key.requests_per_minute is None:
        return _UNLIMITED
    return RateLimit(requests=key.requests_per_minute, interval="1m", note="Requests that this key may make a minute.")
