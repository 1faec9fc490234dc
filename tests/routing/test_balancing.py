"""Default balancing: who is first how often, who follows, and who is not asked at all."""

import random
from collections import Counter
from math import inf, nan

import msgspec
import pytest

from catalog.models import endpoint, model
from embedrouter.catalog.models import Model, Provider
from embedrouter.errors import EmbedRouterError, RateLimitExceededError
from embedrouter.routing.facts import Facts
from routing.cases import no_draw, planned, rising, tags

_DRAWS = 20_000
_CRITICAL = {1: 10.828, 2: 13.816, 3: 16.266, 4: 18.467}  # chi-square at p = 0.001, by degrees of freedom


def _firsts(of: Model, facts: dict[str, Facts] | None = None) -> Counter[str]:
    chance = random.Random(20260822)
    return Counter(planned(of, {}, facts, chance.random).endpoints[0].tag for _ in range(_DRAWS))


def _chi_square(counted: Counter[str], weights: dict[str, float]) -> float:
    assert set(counted) <= set(weights)
    whole = sum(weights.values())
    expected = {tag: _DRAWS * weight / whole for tag, weight in weights.items()}
    return sum((counted[tag] - count) ** 2 / count for tag, count in expected.items())


@pytest.mark.parametrize(
    "prices",
    [
        {"a": 1_000_000, "b": 3_000_000},
        {"a": 5_000, "b": 5_000, "c": 5_000},
        {"a": 10_000, "b": 20_000, "c": 13_000, "d": 130_000},
        {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5},
    ],
)
def test_the_first_is_drawn_with_weight_one_by_price_squared(prices: dict[str, int]) -> None:
    of = model("acme/embed", *(endpoint(tag, price) for tag, price in prices.items()))
    weights = {tag: price**-2 for tag, price in prices.items()}
    assert _chi_square(_firsts(of), weights) < _CRITICAL[len(prices) - 1]


def test_the_chi_square_would_notice_another_rule() -> None:
    prices = {"a": 10_000, "b": 20_000, "c": 13_000, "d": 130_000}
    of = model("acme/embed", *(endpoint(tag, price) for tag, price in prices.items()))
    by_price = {tag: 1 / price for tag, price in prices.items()}
    assert _chi_square(_firsts(of), by_price) > 100 * _CRITICAL[3]


_ABC = model("acme/embed", endpoint("a", 1_000_000), endpoint("b", 2_000_000), endpoint("c", 3_000_000))


def test_the_references_example_a_is_first_nine_times_as_often_as_c_and_b_is_last() -> None:
    facts = {"b": Facts(outage=True)}
    assert _chi_square(_firsts(_ABC, facts), {"a": 9, "c": 1}) < _CRITICAL[1]
    assert tags(planned(_ABC, {}, facts, 0.89)) == ["a", "c", "b"]
    assert tags(planned(_ABC, {}, facts, 0.91)) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"a": Facts(outage=True)}, ["b", "c", "a"]),
        ({"a": Facts(tier="degraded")}, ["b", "c", "a"]),
        ({"a": Facts(tier="down")}, ["b", "c", "a"]),
        ({"a": Facts(tier="degraded"), "b": Facts(outage=True)}, ["c", "a", "b"]),
        ({"a": Facts(tier="down"), "b": Facts(outage=True), "c": Facts(outage=True)}, ["b", "c", "a"]),
        ({"a": Facts(outage=True, tier="degraded"), "c": Facts(outage=True)}, ["b", "c", "a"]),
        ({"a": Facts(outage=True), "b": Facts(outage=True), "c": Facts(outage=True)}, ["a", "b", "c"]),
        ({"a": Facts(closed=True)}, ["b", "c"]),
        ({"a": Facts(closed=True), "b": Facts(tier="down")}, ["c", "b"]),
    ],
)
def test_those_with_trouble_come_after_those_without(facts: dict[str, Facts], expected: list[str]) -> None:
    assert tags(planned(_ABC, {}, facts)) == expected


def test_a_preferred_cutoff_comes_before_an_outage_and_after_being_down() -> None:
    facts = {"a": Facts(latency=rising(9)), "b": Facts(outage=True), "c": Facts(tier="down")}
    assert tags(planned(_ABC, {"preferred_max_latency": 1}, facts)) == ["b", "a", "c"]


def test_the_draw_is_only_among_the_best() -> None:
    degraded = {tag: Facts(tier="degraded") for tag in "bc"}
    assert tags(planned(_ABC, {}, degraded, no_draw)) == ["a", "b", "c"]
    firsts = _firsts(_ABC, {"a": Facts(tier="down"), **degraded})
    assert _chi_square(firsts, {"b": 9, "c": 4}) < _CRITICAL[1]


def test_who_costs_nothing_is_first_before_anybody_paid() -> None:
    of = model("acme/embed", endpoint("paid", 1), endpoint("one", 0), endpoint("two", 0), endpoint("three", 0))
    assert _chi_square(_firsts(of), {"one": 1, "two": 1, "three": 1}) < _CRITICAL[2]
    assert tags(planned(of, {}, draw=0.999)) == ["two", "one", "three", "paid"]


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0 - 2**-53, 1.0])
@pytest.mark.parametrize("prices", [(1, 10**15), (10**15, 10**15 + 1, 10**15 + 2), (0, 0, 7)])
def test_extreme_prices_and_draws_still_choose_somebody(prices: tuple[int, ...], draw: float) -> None:
    of = model("acme/embed", *(endpoint(f"e{index}", price) for index, price in enumerate(prices)))
    assert len(planned(of, {}, draw=draw).endpoints) == len(prices)


def test_endpoints_that_are_not_to_be_asked_are_told_with_why() -> None:
    facts = {"a": Facts(closed=True, reason="rate_limited"), "b": Facts(closed=True)}
    found = planned(_ABC, {}, facts)
    assert [(one.tag, one.provider_name, one.reasons) for one in found.excluded] == [
        ("a", "A", ("rate_limited",)),
        ("b", "B", ("failing",)),
    ]
    assert found.total == 3


def test_the_primary_without_fallbacks_is_the_first_that_may_be_asked() -> None:
    preferences = {"sort": "price", "allow_fallbacks": False}
    assert tags(planned(_ABC, preferences, {"a": Facts(closed=True)})) == ["b"]


@pytest.mark.parametrize(
    ("closed", "preferences", "error", "code", "wait"),
    [
        (
            {"a": ("rate_limited", 40.2), "b": ("rate_limited", 90.0), "c": ("rate_limited", 50.0)},
            {},
            RateLimitExceededError,
            "capacity_exhausted",
            41,
        ),
        (
            {"a": ("rate_limited", 1e300), "b": ("rate_limited", inf), "c": ("rate_limited", 86_500.0)},
            {},
            RateLimitExceededError,
            "capacity_exhausted",
            86_400,
        ),
        ({"b": ("rate_limited", 7.0)}, {"only": ["b"]}, RateLimitExceededError, "capacity_exhausted", 7),
        (
            {"b": ("rate_limited", 7.0)},
            {"order": ["b"], "allow_fallbacks": False},
            RateLimitExceededError,
            "capacity_exhausted",
            7,
        ),
    ],
)
def test_where_nobody_is_to_be_asked_the_caller_learns_when_to_come_back(
    closed: dict[str, tuple[str | None, float | None]],
    preferences: dict[str, object],
    error: type[EmbedRouterError],
    code: str,
    wait: int,
) -> None:
    facts = {
        tag: Facts(closed=True, reason=reason, retry_after=after)  # type: ignore[arg-type]  # a table's plain strings
        for tag, (reason, after) in closed.items()
    }
    with pytest.raises(error, match=f"Retry after {wait} seconds") as caught:
        planned(_ABC, preferences, facts)
    assert caught.value.retry_after == wait
    availability = caught.value.availability or {}
    assert (availability["code"], availability["retryable"], availability["retry_after"]) == (code, True, wait)
    assert availability["affected_providers"] == sorted(tag.upper() for tag in closed)
    assert ("excluded_by" in availability) == bool(preferences)


def test_the_built_in_model_counts_as_free_whatever_it_charges() -> None:
    here = Provider(slug="builtin", name="Builtin", wire="builtin")
    own = msgspec.structs.replace(endpoint("builtin/bf16", 10**9), provider=here)
    both = model("a/b", endpoint("cheap", 1), own)
    for draw in (0.0, 0.5, 0.999):
        assert tags(planned(both, draw=draw))[0] == "builtin/bf16"
    assert tags(planned(both, {"sort": "price"}))[0] == "cheap"  # what the caller pays decides, if he asks


@pytest.mark.parametrize(
    ("closed", "last"),
    [
        ({"a": ("rate_limited", 40.0), "b": ("failing", 30.0), "c": ("failing", None)}, ["b", "c"]),
        ({"a": ("rate_limited", 1.5), "b": ("failing", 1.0), "c": ("failing", 0.5)}, ["c", "b", "a"]),
        ({"a": (None, None), "b": (None, nan), "c": (None, inf)}, ["a", "b", "c"]),
    ],
)
def test_where_nobody_else_is_left_those_that_failed_are_asked_all_the_same(
    closed: dict[str, tuple[str | None, float | None]], last: list[str]
) -> None:
    facts = {
        tag: Facts(closed=True, reason=reason, retry_after=after)  # type: ignore[arg-type]  # as above
        for tag, (reason, after) in closed.items()
    }
    found = planned(_ABC, {}, facts)
    assert found.endpoints == ()
    assert [one.tag for one in found.last] == last == [one.tag for one in found.tried]
    assert [one.tag for one in planned(_ABC, {"allow_fallbacks": False}, facts).tried] == last[:1]


def test_those_that_failed_come_after_everybody_else() -> None:
    found = planned(_ABC, {}, {"a": Facts(closed=True, reason="failing", retry_after=1.0)})
    assert [one.tag for one in found.tried] == ["b", "c", "a"]
