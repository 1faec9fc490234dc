"""The order in which endpoints that may serve are tried. Pure functions; chance is passed in."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

from embedrouter.catalog.constraints import Constraints
from embedrouter.catalog.models import Endpoint
from embedrouter.routing.facts import Facts, Percentiles
from embedrouter.routing.filters import named
from embedrouter.routing.preferences import Cutoff, ProviderPreferences, SortConfig
from embedrouter.routing.variants import Variant

Strategy = Literal["balanced", "order", "price", "throughput", "latency"]
Key = tuple[Any, ...]  # sorts candidates; equal only for one and the same


class Candidate(NamedTuple):
    """An endpoint that may serve, and what is known of it now."""

    endpoint: Endpoint
    facts: Facts


def strategy_of(preferences: ProviderPreferences, constraints: Constraints, variant: Variant | None) -> Strategy:
    """What decides the order: the request's `order`, its `sort`, its variant, the workspace's default, or balancing."""
    return "order" if preferences.order else _sort_of(preferences, constraints, variant)


def arranged(
    candidates: Sequence[Candidate],
    preferences: ProviderPreferences,
    constraints: Constraints,
    variant: Variant | None,
    draw: Callable[[], float],
) -> list[Candidate]:
    """All candidates, in the order to try them; it does not depend on the order they come in.

    draw: uniform in [0, 1); asked once where there is something to choose by chance, else never.
    """
    sort = _sort_of(preferences, constraints, variant)
    if preferences.order:
        ordered = _listed_first(sorted(candidates, key=_key(sort, preferences)), preferences.order)
        return _failing_last(ordered, preferences)
    if sort == "balanced":
        return _balanced(candidates, preferences, draw)
    return _failing_last(sorted(candidates, key=_key(sort, preferences)), preferences)


def _sort_of(preferences: ProviderPreferences, constraints: Constraints, variant: Variant | None) -> Strategy:
    sort = preferences.sort.by if isinstance(preferences.sort, SortConfig) else preferences.sort
    if sort is None and variant in ("nitro", "floor"):
        sort = "throughput" if variant == "nitro" else "price"
    if sort is None and not preferences.order:
        return cast(Strategy, constraints.default_sort) if constraints.default_sort in _SORTS else "balanced"
    return cast(Strategy, sort) if sort in _SORTS else "balanced"


def _key(sort: Strategy, preferences: ProviderPreferences) -> Callable[[Candidate], Key]:
    return _SORTS[sort] if sort in _SORTS else lambda one: (*_rank(one, preferences), _paid(one), one.endpoint.tag)


def _paid(one: Candidate) -> int:
    """What the installation pays for a token: nothing to itself, whatever it charges."""
    return 0 if one.endpoint.provider.wire == "builtin" else one.endpoint.price.prompt


def _by_price(one: Candidate) -> Key:
    return one.endpoint.price.prompt, one.endpoint.tag


def _by_throughput(one: Candidate) -> Key:
    measured = one.facts.throughput
    return (measured is None, -measured.p50 if measured else 0.0, *_by_price(one))


def _by_latency(one: Candidate) -> Key:
    measured = one.facts.latency
    return (measured is None, measured.p50 if measured else 0.0, *_by_price(one))


_SORTS: dict[str | None, Callable[[Candidate], Key]] = {
    "price": _by_price,
    "throughput": _by_throughput,
    "latency": _by_latency,
}


def _listed_first(candidates: Sequence[Candidate], order: Sequence[str]) -> list[Candidate]:
    """Those that the slugs name, slug by slug; then the others."""
    left, listed = list(candidates), list[Candidate]()
    for slug in order:
        one_slug = frozenset((slug.lower(),))
        listed += [one for one in left if named(one.endpoint, one_slug)]
        left = [one for one in left if not named(one.endpoint, one_slug)]
    return listed + left


def _failing_last(candidates: Sequence[Candidate], preferences: ProviderPreferences) -> list[Candidate]:
    return sorted(candidates, key=lambda one: not _meets(one.facts, preferences))


def _balanced(
    candidates: Sequence[Candidate], preferences: ProviderPreferences, draw: Callable[[], float]
) -> list[Candidate]:
    """One drawn among the best, then the others as fallbacks: the best first, the cheapest of them first."""
    ranked = sorted(candidates, key=_key("balanced", preferences))
    best = [one for one in ranked if _rank(one, preferences) == _rank(ranked[0], preferences)]
    first = _drawn(best, draw) if len(best) > 1 else 0
    return [ranked[first], *ranked[:first], *ranked[first + 1 :]]


def _rank(one: Candidate, preferences: ProviderPreferences) -> tuple[bool, ...]:
    """What sets candidates apart before their price does: the first that differs decides, False is better."""
    facts = one.facts
    return facts.tier == "down", not _meets(facts, preferences), facts.outage, facts.tier == "degraded"


def _drawn(by_price: Sequence[Candidate], draw: Callable[[], float]) -> int:
    """An index, with weight 1 / price². No price is infinitely far below any: the free ones share the draw."""
    cheapest = _paid(by_price[0])
    if cheapest == 0:
        weights = [1.0 for one in by_price if _paid(one) == 0]
    else:
        weights = [(cheapest / _paid(one)) ** 2 for one in by_price]
    left = draw() * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1  # rounding


def _meets(facts: Facts, preferences: ProviderPreferences) -> bool:
    """Whether an endpoint holds the cutoffs that are preferred. What was not measured is not held against it."""
    return _holds(facts.latency, preferences.preferred_max_latency, operator.le) and _holds(
        facts.throughput, preferences.preferred_min_throughput, operator.ge
    )


def _holds(measured: Percentiles | None, cutoff: Cutoff | None, compare: Callable[[float, float], bool]) -> bool:
    if measured is None or cutoff is None:
        return True
    if isinstance(cutoff, dict):
        return all(limit is None or compare(getattr(measured, name), limit) for name, limit in cutoff.items())
    return compare(measured.p50, cutoff)
