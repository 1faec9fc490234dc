"""The plan: which endpoints of a model are tried for a request, and in which order. Pure, but for the draw."""

import math
import random
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from embedrouter.catalog.constraints import FREE, Constraints
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.routing.facts import Facts
from embedrouter.routing.filters import Exclusion, exclusion, filters_of, visible
from embedrouter.routing.order import Candidate, Strategy, arranged, strategy_of
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.routing.refusals import at_capacity, nobody_permitted, nobody_serves, require_allowed
from embedrouter.routing.variants import Variant

WORTH_WAITING: Final = 2.0  # seconds of a Retry-After


class Plan(NamedTuple):
    """Who is tried, in this order, and who is not."""

    endpoints: tuple[Endpoint, ...]  # the later ones only where the earlier ones fail
    last: tuple[Endpoint, ...]  # not to be asked now, unless nobody else is left; the soonest to be back first
    excluded: tuple[Exclusion, ...]  # by the filters, or because they are not to be asked now
    strategy: Strategy
    total: int  # endpoints that were looked at; fallbacks that are switched off are in neither list

    @property
    def tried(self) -> tuple[Endpoint, ...]:
        """All that may be asked; never empty."""
        return self.endpoints + self.last


def plan(
    model: Model,
    preferences: ProviderPreferences,
    *,
    constraints: Constraints = FREE,
    parameters: Iterable[str] = (),
    tokens: int | None = None,
    facts: Callable[[Endpoint], Facts],
    retains: Callable[[Endpoint], bool] = lambda endpoint: endpoint.data_policy.retains_prompts,
    draw: Callable[[], float] = random.random,
    variant: Variant | None = None,
) -> Plan:
    """Raises EmbedRouterError where nobody is left to try: NotFoundError, with what excluded whom, where the filters
    leave nobody; RateLimitExceededError where those they leave said when to return;
    PermissionDeniedError where a guardrail excludes the model; InvalidRequestError for a price that is none.

    parameters: names of the parameters the request carries. tokens: of its longest input; None if it may be cut.
    retains: whether an endpoint keeps prompts, by whichever credential.
    """
    require_allowed(model, constraints)
    filters = filters_of(preferences, parameters, tokens, variant)
    endpoints = visible(model, constraints.workspace_id)
    if not endpoints:
        raise nobody_serves(model, variant)
    excluded: list[Exclusion] = []
    candidates: list[Candidate] = []
    for endpoint in endpoints:
        found = exclusion(endpoint, filters, constraints, retains)
        if found is None:
            candidates.append(Candidate(endpoint, facts(endpoint)))
        else:
            excluded.append(found)
    if not candidates:
        raise nobody_permitted(model, endpoints, excluded, preferences, variant, tokens)
    ready = [one for one in candidates if not one.facts.closed]
    last = sorted((one for one in candidates if _may_be_tried_last(one.facts)), key=_back)
    if not ready and not last:
        raise at_capacity(model, candidates, excluded, variant)
    tried = arranged(ready, preferences, constraints, variant, draw) if ready else []
    if preferences.allow_fallbacks is False and not preferences.order:
        tried, last = tried[:1], [] if tried else last[:1]
    return Plan(
        tuple(one.endpoint for one in tried),
        tuple(one.endpoint for one in last),
        (*excluded, *(_not_now(one) for one in candidates if one.facts.closed)),
        strategy_of(preferences, constraints, variant),
        total=len(endpoints),
    )


def _may_be_tried_last(facts: Facts) -> bool:
    """A breaker spares who fails; where nobody else is left it spares nobody. But who said when to return is heard."""
    return facts.closed and (facts.reason != "rate_limited" or (facts.retry_after or 0.0) <= WORTH_WAITING)


def _back(one: Candidate) -> tuple[float, str]:
    wait = one.facts.retry_after
    return (wait if wait is not None and math.isfinite(wait) else math.inf), one.endpoint.tag


def _not_now(one: Candidate) -> Exclusion:
    return Exclusion(one.endpoint.tag, one.endpoint.provider.name, (one.facts.reason or "failing",))
