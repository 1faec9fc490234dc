"""The plan: which endpoints of a model are tried for a request, and in which order. Pure, but for the draw."""

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from embedrouter.catalog.constraints import FREE, Constraints
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.routing.facts import Facts
from embedrouter.routing.filters import Exclusion, exclusion, filters_of, visible
from embedrouter.routing.order import Candidate, Strategy, arranged, strategy_of
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.routing.refusals import all_closed, nobody_permitted, nobody_serves, require_allowed
from embedrouter.routing.variants import Variant


class Plan(NamedTuple):
    """Who is tried, in this order, and who is not."""

    endpoints: tuple[Endpoint, ...]  # never empty; the later ones only where the earlier ones fail
    excluded: tuple[Exclusion, ...]  # by the filters, or because they are not to be asked now
    strategy: Strategy
    total: int  # endpoints that were looked at; fallbacks that are switched off are in neither list


def plan(
    model: Model,
    preferences: ProviderPreferences,
    *,
    constraints: Constraints = FREE,
    parameters: Iterable[str] = (),
    tokens: int | None = None,
    facts: Callable[[Endpoint], Facts],
    draw: Callable[[], float] = random.random,
    variant: Variant | None = None,
) -> Plan:
    """Raises EmbedRouterError where nobody is left to try: NotFoundError, with what excluded whom, where the filters
    leave nobody; RateLimitExceededError or OverloadedError where those they leave are not to be asked now;
    PermissionDeniedError where a guardrail excludes the model; InvalidRequestError for a price that is none.

    parameters: names of the parameters the request carries. tokens: of its longest input; None if it may be cut.
    """
    require_allowed(model, constraints)
    filters = filters_of(preferences, parameters, tokens, variant)
    endpoints = visible(model, constraints.workspace_id)
    if not endpoints:
        raise nobody_serves(model, variant)
    excluded: list[Exclusion] = []
    candidates: list[Candidate] = []
    for endpoint in endpoints:
        found = exclusion(endpoint, filters, constraints)
        if found is None:
            candidates.append(Candidate(endpoint, facts(endpoint)))
        else:
            excluded.append(found)
    if not candidates:
        raise nobody_permitted(model, endpoints, excluded, preferences, variant, tokens)
    ready = [one for one in candidates if not one.facts.closed]
    if not ready:
        raise all_closed(model, candidates, excluded, variant)
    tried = arranged(ready, preferences, constraints, variant, draw)
    if preferences.allow_fallbacks is False and not preferences.order:
        tried = tried[:1]
    return Plan(
        tuple(one.endpoint for one in tried),
        (*excluded, *(_not_now(one) for one in candidates if one.facts.closed)),
        strategy_of(preferences, constraints, variant),
        total=len(endpoints),
    )


def _not_now(one: Candidate) -> Exclusion:
    return Exclusion(one.endpoint.tag, one.endpoint.provider.name, (one.facts.reason or "failing",))
