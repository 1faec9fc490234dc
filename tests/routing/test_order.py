"""In which order endpoints are tried: `sort`, `order`, preferred cutoffs, the workspace's default, variants."""

from typing import Any

import pytest

from catalog.models import endpoint, model
from embedrouter.catalog.constraints import Constraints
from embedrouter.errors import NotFoundError
from embedrouter.routing.facts import Facts
from embedrouter.routing.variants import Variant, split_variant
from routing.cases import falling, no_draw, planned, rising, tags

_MODEL = model(
    "acme/embed",
    endpoint("beta/us", 3),
    endpoint("alpha/turbo", 5),
    endpoint("alpha/slow", 1),
    endpoint("delta", 3),
    endpoint("gamma", 2),
)
_CHEAPEST_FIRST = ["alpha/slow", "gamma", "beta/us", "delta", "alpha/turbo"]
_MEASURED = {
    "alpha/slow": Facts(latency=rising(9.0), throughput=falling(10)),
    "gamma": Facts(latency=rising(0.5), throughput=falling(500)),
    "beta/us": Facts(latency=rising(0.1), throughput=falling(100)),
    "alpha/turbo": Facts(latency=rising(0.1), throughput=falling(900)),
}
_FASTEST_FIRST = ["alpha/turbo", "gamma", "beta/us", "alpha/slow", "delta"]
_QUICKEST_FIRST = ["beta/us", "alpha/turbo", "gamma", "alpha/slow", "delta"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("price", _CHEAPEST_FIRST),
        ("throughput", _FASTEST_FIRST),
        ("latency", _QUICKEST_FIRST),
        ({"by": "price"}, _CHEAPEST_FIRST),
        ({"by": "throughput", "partition": "model"}, _FASTEST_FIRST),
        ({"by": "latency", "partition": "none"}, _QUICKEST_FIRST),
    ],
)
def test_sort_decides_alone_and_draws_nothing(sort: Any, expected: list[str]) -> None:
    found = planned(_MODEL, {"sort": sort}, _MEASURED, no_draw)
    assert tags(found) == expected
    assert found.strategy == (sort["by"] if isinstance(sort, dict) else sort)


@pytest.mark.parametrize("sort", ["throughput", "latency"])
def test_without_measurements_sorting_by_them_sorts_by_price_then_tag(sort: str) -> None:
    assert tags(planned(_MODEL, {"sort": sort}, {}, no_draw)) == _CHEAPEST_FIRST


def test_sort_is_strict_about_outages_and_tiers() -> None:
    facts = {"alpha/slow": Facts(outage=True, tier="down")}
    assert tags(planned(_MODEL, {"sort": "price"}, facts, no_draw)) == _CHEAPEST_FIRST


@pytest.mark.parametrize("sort", ["exacto", {"by": "exacto"}, {"by": None}, {"partition": "none"}, {}])
def test_a_sort_that_names_no_order_balances(sort: Any) -> None:
    found = planned(_MODEL, {"sort": sort}, draw=0.999999)
    assert found.strategy == "balanced"
    assert tags(found) == ["alpha/turbo", "alpha/slow", "gamma", "beta/us", "delta"]


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        ({"order": ["delta"]}, ["delta", "alpha/slow", "gamma", "beta/us", "alpha/turbo"]),
        ({"order": ["delta", "gamma"]}, ["delta", "gamma", "alpha/slow", "beta/us", "alpha/turbo"]),
        ({"order": ["ALPHA", "delta"]}, ["alpha/slow", "alpha/turbo", "delta", "gamma", "beta/us"]),
        ({"order": ["Alpha/Turbo", "alpha"]}, ["alpha/turbo", "alpha/slow", "gamma", "beta/us", "delta"]),
        ({"order": ["other", "beta"]}, ["beta/us", "alpha/slow", "gamma", "delta", "alpha/turbo"]),
        ({"order": ["other"]}, _CHEAPEST_FIRST),
        ({"order": ["delta", "beta", "delta"], "allow_fallbacks": False}, ["delta", "beta/us"]),
        ({"order": ["alpha"], "allow_fallbacks": False}, ["alpha/slow", "alpha/turbo"]),
        ({"order": ["delta"], "ignore": ["gamma"]}, ["delta", "alpha/slow", "beta/us", "alpha/turbo"]),
        ({"order": ["delta"], "only": ["alpha"]}, ["alpha/slow", "alpha/turbo"]),
        ({"order": ["alpha"], "sort": "throughput"}, ["alpha/turbo", "alpha/slow", "gamma", "beta/us", "delta"]),
        ({"order": ["delta"], "sort": "latency"}, ["delta", "beta/us", "alpha/turbo", "gamma", "alpha/slow"]),
    ],
)
def test_order_comes_first_and_draws_nothing(preferences: dict[str, Any], expected: list[str]) -> None:
    found = planned(_MODEL, preferences, _MEASURED, no_draw)
    assert tags(found) == expected
    assert found.strategy == "order"


def test_order_is_strict_about_health_and_the_fallbacks_after_it_are_not() -> None:
    facts = {"delta": Facts(outage=True), "alpha/slow": Facts(tier="degraded"), "gamma": Facts(outage=True)}
    found = planned(_MODEL, {"order": ["delta"]}, facts, no_draw)
    assert tags(found) == ["delta", "beta/us", "alpha/turbo", "alpha/slow", "gamma"]


def test_an_empty_order_is_none() -> None:
    assert planned(_MODEL, {"order": [], "allow_fallbacks": False}).strategy == "balanced"


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        ({}, ["alpha/slow"]),
        ({"sort": "throughput"}, ["alpha/turbo"]),
        ({"order": ["delta", "gamma"]}, ["delta", "gamma"]),
    ],
)
def test_without_fallbacks_only_the_first_or_the_order_is_tried(
    preferences: dict[str, Any], expected: list[str]
) -> None:
    found = planned(_MODEL, {"allow_fallbacks": False, **preferences}, _MEASURED)
    assert tags(found) == expected
    assert found.total == 5


_SLOW = ["alpha/slow"]


@pytest.mark.parametrize(
    ("cutoffs", "last"),
    [
        ({"preferred_max_latency": 8.9}, _SLOW),
        ({"preferred_max_latency": 9}, []),
        ({"preferred_max_latency": {"p50": 9, "p99": 36}}, []),
        ({"preferred_max_latency": {"p50": 9, "p99": 35.9}}, _SLOW),
        ({"preferred_max_latency": {"p90": 1}}, ["alpha/slow", "gamma"]),
        ({"preferred_max_latency": {"p75": 1, "p90": None}}, _SLOW),
        ({"preferred_max_latency": {}}, []),
        ({"preferred_min_throughput": 10}, []),
        ({"preferred_min_throughput": 10.1}, _SLOW),
        ({"preferred_min_throughput": {"p75": 51}}, ["alpha/slow", "beta/us"]),
        ({"preferred_min_throughput": {"p50": 10, "p90": 100}}, ["alpha/slow", "beta/us"]),
        ({"preferred_min_throughput": 200, "preferred_max_latency": 0.4}, ["alpha/slow", "gamma", "beta/us"]),
    ],
)
@pytest.mark.parametrize("sort", [{}, {"sort": "price"}])
def test_endpoints_that_miss_a_preferred_cutoff_go_to_the_end(
    cutoffs: dict[str, Any], last: list[str], sort: dict[str, Any]
) -> None:
    expected = [tag for tag in _CHEAPEST_FIRST if tag not in last] + last
    assert tags(planned(_MODEL, {**cutoffs, **sort}, _MEASURED)) == expected


def test_what_was_not_measured_misses_no_cutoff() -> None:
    impossible = {"preferred_max_latency": 1e-9, "preferred_min_throughput": 1e9}
    assert tags(planned(_MODEL, impossible, _MEASURED))[0] == "delta"


def test_a_cutoff_moves_endpoints_behind_those_of_an_order() -> None:
    preferences = {"order": ["alpha/slow", "delta"], "preferred_max_latency": 1}
    assert tags(planned(_MODEL, preferences, _MEASURED)) == ["delta", "gamma", "beta/us", "alpha/turbo", "alpha/slow"]


def test_who_misses_a_cutoff_is_not_drawn() -> None:
    for step in range(100):
        found = planned(_MODEL, {"preferred_max_latency": 0.2}, _MEASURED, step / 100)
        assert tags(found)[0] in ("beta/us", "alpha/turbo", "delta")


@pytest.mark.parametrize(
    ("preferences", "variant", "strategy"),
    [
        ({}, None, "throughput"),
        ({"sort": "price"}, None, "price"),
        ({"sort": "exacto"}, None, "balanced"),
        ({"sort": {"partition": "none"}}, None, "throughput"),
        ({"order": ["delta"]}, None, "order"),
        ({}, "floor", "price"),
        ({}, "free", "throughput"),
    ],
)
def test_the_workspaces_sort_holds_where_the_request_has_none(
    preferences: dict[str, Any], variant: Variant | None, strategy: str
) -> None:
    free = model("acme/embed", endpoint("delta", 0))
    found = planned(free, preferences, constraints=Constraints(default_sort="throughput"), variant=variant)
    assert found.strategy == strategy


def test_the_fallbacks_of_an_order_are_not_sorted_by_the_workspace() -> None:
    constraints = Constraints(default_sort="throughput")
    found = planned(_MODEL, {"order": ["delta"]}, _MEASURED, constraints=constraints)
    assert tags(found) == ["delta", "alpha/slow", "gamma", "beta/us", "alpha/turbo"]


@pytest.mark.parametrize(
    ("variant", "preferences", "expected"),
    [
        ("nitro", {}, _FASTEST_FIRST),
        ("floor", {}, _CHEAPEST_FIRST),
        ("nitro", {"sort": "price"}, _CHEAPEST_FIRST),
        ("floor", {"order": ["delta"]}, ["delta", "alpha/slow", "gamma", "beta/us", "alpha/turbo"]),
    ],
)
def test_a_variant_sorts_unless_the_request_does(
    variant: Variant, preferences: dict[str, Any], expected: list[str]
) -> None:
    assert tags(planned(_MODEL, preferences, _MEASURED, no_draw, variant=variant)) == expected


def test_the_free_variant_leaves_what_costs_nothing() -> None:
    some = model("acme/embed", endpoint("alpha", 1), endpoint("beta", 0), endpoint("gamma", 0))
    assert sorted(tags(planned(some, variant="free"))) == ["beta", "gamma"]
    with pytest.raises(NotFoundError, match=r"acme/embed:free .*alpha: allowed_providers, max_price") as caught:
        planned(some, {"ignore": ["beta", "gamma", "alpha"]}, variant="free")
    assert (caught.value.availability or {})["requested_models"] == ["acme/embed:free"]


def test_a_free_variant_that_nobody_serves_says_so() -> None:
    with pytest.raises(NotFoundError, match="leave out :free") as caught:
        planned(_MODEL, variant="free")
    assert (caught.value.availability or {})["code"] == "free_variant_ended"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme/embed", ("acme/embed", None)),
        ("acme/embed:nitro", ("acme/embed", "nitro")),
        ("acme/embed:FLOOR", ("acme/embed", "floor")),
        ("acme/embed:free", ("acme/embed", "free")),
        ("all-minilm:33m", ("all-minilm:33m", None)),
        ("all-minilm:33m:free", ("all-minilm:33m", "free")),
        ("acme/embed:", ("acme/embed:", None)),
        (":free", (":free", None)),
        ("free", ("free", None)),
        ("", ("", None)),
    ],
)
def test_a_variant_is_split_from_the_name(name: str, expected: tuple[str, Variant | None]) -> None:
    assert split_variant(name) == expected
