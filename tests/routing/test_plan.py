"""What every plan has, whatever the endpoints, the preferences and the facts."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.models import endpoint, model
from embedrouter.catalog.constraints import Constraints
from embedrouter.catalog.models import DataPolicy, Endpoint, Model
from embedrouter.errors import NotFoundError, OverloadedError, RateLimitExceededError
from embedrouter.routing.facts import Facts, Percentiles
from embedrouter.routing.plan import Plan
from routing.cases import no_draw, planned, tags

_TAGS = ["alpha", "alpha/turbo", "beta/us", "beta/eu", "gamma", "delta/1"]
_SLUGS = st.lists(st.sampled_from([*_TAGS, "beta", "DELTA", "Gamma", "nobody"]), max_size=4)
_SECONDS = st.floats(0.001, 100)


def _percentiles() -> st.SearchStrategy[Percentiles | None]:
    return st.none() | st.builds(Percentiles, _SECONDS, _SECONDS, _SECONDS, _SECONDS)


_FACTS = st.dictionaries(
    st.sampled_from(_TAGS),
    st.builds(
        Facts,
        outage=st.booleans(),
        tier=st.sampled_from(["normal", "degraded", "down"]),
        closed=st.sampled_from([False, False, False, True]),
        latency=_percentiles(),
        throughput=_percentiles(),
        reason=st.sampled_from([None, "rate_limited", "failing"]),
        retry_after=st.none() | st.floats(),
    ),
)
_PREFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "order": _SLUGS,
        "allow_fallbacks": st.booleans(),
        "only": _SLUGS.filter(bool),
        "ignore": _SLUGS,
        "zdr": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "quantizations": st.lists(st.sampled_from(["fp8", "fp32", "bf16"]), max_size=2),
        "sort": st.sampled_from(["price", "throughput", "latency", "exacto"]),
        "max_price": st.fixed_dictionaries({"prompt": st.floats(0, 0.1)}),
        "preferred_max_latency": _SECONDS,
        "preferred_min_throughput": st.fixed_dictionaries({"p90": _SECONDS}),
    },
)


@st.composite
def _models(draw: st.DrawFn) -> Model:
    chosen = draw(st.lists(st.sampled_from(_TAGS), min_size=1, unique=True))
    return model("acme/embed", *(draw(_endpoints(tag)) for tag in chosen))


def _endpoints(tag: str) -> st.SearchStrategy[Endpoint]:
    return st.builds(
        endpoint,
        st.just(tag),
        st.sampled_from([0, 1_000, 1_000, 5_000, 100_000]),
        quantization=st.sampled_from(["fp32", "mxfp8"]),
        data_policy=st.builds(DataPolicy, retains_prompts=st.booleans(), trains_on_prompts=st.booleans()),
        disabled=st.sampled_from([False, False, True]),
        private_to=st.sampled_from([None, None, "mine", "theirs"]),
    )


_CONSTRAINTS = st.builds(
    Constraints,
    ignored_providers=st.frozensets(st.sampled_from(["alpha", "gamma"]), max_size=1),
    zdr=st.sampled_from([False, True]),
    workspace_id=st.just("mine"),
    default_sort=st.sampled_from([None, "price", "latency"]),
)
_DRAWS = st.floats(0, 1, exclude_max=True)


def _plan(of: Model, preferences: dict[str, Any], facts: dict[str, Facts], draw: Any, **more: Any) -> Plan | None:
    try:
        return planned(of, preferences, facts, draw, **more)
    except NotFoundError:
        return None
    except (OverloadedError, RateLimitExceededError) as error:
        assert error.retry_after in range(1, 86_401)  # noqa: PT017
        return None


@settings(deadline=None)
@given(_models(), _PREFERENCES, _FACTS, _CONSTRAINTS, _DRAWS)
def test_every_visible_endpoint_is_tried_once_or_excluded_with_a_reason(
    of: Model, preferences: dict[str, Any], facts: dict[str, Facts], constraints: Constraints, draw: float
) -> None:
    visible = sorted(e.tag for e in of.endpoints if not e.disabled and e.private_to != "theirs")
    found = _plan(of, {**preferences, "allow_fallbacks": True}, facts, draw, constraints=constraints)
    if found is not None:
        assert found.tried
        assert sorted([*tags(found), *(one.tag for one in found.excluded)]) == visible
        assert all(one.reasons for one in found.excluded)
        assert found.total == len(visible)


@settings(deadline=None)
@given(_models(), _PREFERENCES, _FACTS, _CONSTRAINTS, _DRAWS)
def test_nobody_who_is_tried_breaks_a_rule(
    of: Model, preferences: dict[str, Any], facts: dict[str, Facts], constraints: Constraints, draw: float
) -> None:
    found = _plan(of, preferences, facts, draw, constraints=constraints)
    for one in found.tried if found is not None else ():
        assert not one.disabled
        assert one.private_to in (None, "mine")
        assert facts.get(one.tag, Facts()).closed == (one in found.last if found is not None else False)
        assert one.provider.slug not in constraints.ignored_providers
        assert not (one.data_policy.retains_prompts and (constraints.zdr or preferences.get("zdr")))
        assert not (one.data_policy.trains_on_prompts and preferences.get("data_collection") == "deny")
        called = {one.tag, one.provider.slug}
        assert not called & {slug.lower() for slug in preferences.get("ignore", ())}
        assert "only" not in preferences or called & {slug.lower() for slug in preferences["only"]}
        if "max_price" in preferences:
            assert one.price.prompt <= preferences["max_price"]["prompt"] * 1_000_000 * (1 + 1e-12)


@settings(deadline=None)
@given(_models(), _PREFERENCES, _FACTS, _CONSTRAINTS, _DRAWS, st.randoms(use_true_random=False))
def test_the_order_of_the_catalog_does_not_matter(
    of: Model,
    preferences: dict[str, Any],
    facts: dict[str, Facts],
    constraints: Constraints,
    draw: float,
    chance: random.Random,
) -> None:
    shuffled = list(of.endpoints)
    chance.shuffle(shuffled)
    one = _plan(of, preferences, facts, draw, constraints=constraints)
    other = _plan(model("acme/embed", *shuffled), preferences, facts, draw, constraints=constraints)
    assert (one and tags(one)) == (other and tags(other))


@settings(deadline=None)
@given(_models(), _PREFERENCES, _FACTS, _DRAWS)
def test_no_fallbacks_are_the_beginning_of_the_plan_with_fallbacks(
    of: Model, preferences: dict[str, Any], facts: dict[str, Facts], draw: float
) -> None:
    with_all = _plan(of, {**preferences, "order": [], "allow_fallbacks": True}, facts, draw)
    without = _plan(of, {**preferences, "order": [], "allow_fallbacks": False}, facts, draw)
    assert (with_all and tags(with_all)[:1]) == (without and tags(without))


@settings(deadline=None)
@given(_models(), _FACTS, st.sampled_from([{"sort": "price"}, {"sort": "latency"}, {"order": ["nobody"]}]))
def test_sort_and_order_leave_nothing_to_chance(
    of: Model, facts: dict[str, Facts], preferences: dict[str, Any]
) -> None:
    _plan(of, preferences, facts, no_draw)
