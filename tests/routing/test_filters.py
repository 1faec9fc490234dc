from typing import Any

import msgspec
import pytest

from catalog.models import endpoint, model
from embedrouter.catalog.constraints import Constraints
from embedrouter.catalog.models import DataPolicy, Provider
from embedrouter.errors import (
    ContextLengthExceededError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from routing.cases import planned, tags

_MODEL = model(
    "acme/embed",
    endpoint("alpha/fp32", 5_000),
    endpoint("alpha/int8", 2_000, quantization="int8", supported_parameters=()),
    endpoint("beta/us", 8_000, data_policy=DataPolicy(retains_prompts=True, trains_on_prompts=False)),
    endpoint("gamma", 9_000, quantization="bf16", data_policy=DataPolicy(retains_prompts=True, trains_on_prompts=True)),
)
_ALL = ["alpha/fp32", "alpha/int8", "beta/us", "gamma"]


def _left(preferences: dict[str, Any], parameters: tuple[str, ...] = ()) -> list[str]:
    return sorted(tags(planned(_MODEL, preferences, parameters=parameters)))


@pytest.mark.parametrize(
    ("preferences", "left"),
    [
        ({}, _ALL),
        ({"only": ["alpha"]}, ["alpha/fp32", "alpha/int8"]),
        ({"only": ["ALPHA/INT8"]}, ["alpha/int8"]),
        ({"only": ["Beta"]}, ["beta/us"]),
        ({"only": ["beta/us", "gamma", "other"]}, ["beta/us", "gamma"]),
        ({"ignore": ["alpha"]}, ["beta/us", "gamma"]),
        ({"ignore": ["alpha/int8", "gamma"]}, ["alpha/fp32", "beta/us"]),
        ({"ignore": []}, _ALL),
        ({"ignore": ["alph"]}, _ALL),
        ({"only": ["alpha"], "ignore": ["alpha/fp32"]}, ["alpha/int8"]),
        ({"order": ["gamma"], "allow_fallbacks": False}, ["gamma"]),
        ({"order": ["gamma", "other"], "allow_fallbacks": False}, ["gamma"]),
        ({"order": ["gamma", "beta"], "allow_fallbacks": False, "only": ["beta", "alpha"]}, ["beta/us"]),
        ({"order": ["gamma"], "allow_fallbacks": None}, _ALL),
        ({"quantizations": ["int8", "bf16"]}, ["alpha/int8", "gamma"]),
        ({"quantizations": []}, _ALL),
        ({"zdr": True}, ["alpha/fp32", "alpha/int8"]),
        ({"zdr": False}, _ALL),
        ({"data_collection": "deny"}, ["alpha/fp32", "alpha/int8", "beta/us"]),
        ({"data_collection": "allow"}, _ALL),
        ({"max_price": {"prompt": 0.005}}, ["alpha/fp32", "alpha/int8"]),
        ({"max_price": {"prompt": "0.002"}}, ["alpha/int8"]),
        ({"max_price": {"prompt": 0.0079999999}}, ["alpha/fp32", "alpha/int8"]),
        ({"max_price": {"completion": 0}}, _ALL),
        ({"max_price": {}}, _ALL),
        ({"require_parameters": False}, _ALL),
        ({"zdr": True, "quantizations": ["fp32"], "max_price": {"prompt": 1}}, ["alpha/fp32"]),
        ({"enforce_distillable_text": True, "preferred_max_latency": {"p50": 1e-9}}, _ALL),
    ],
)
def test_what_the_hard_filters_leave(preferences: dict[str, Any], left: list[str]) -> None:
    assert _left(preferences) == left


@pytest.mark.parametrize("preferences", [{"order": ["gamma"]}, {"order": ["other"], "allow_fallbacks": True}])
def test_an_order_with_fallbacks_excludes_nobody(preferences: dict[str, Any]) -> None:
    assert sorted(_left(preferences)) == _ALL


@pytest.mark.parametrize(("sent", "left"), [((), _ALL), (("seed",), ["alpha/fp32", "beta/us", "gamma"])])
def test_required_parameters_are_those_that_were_sent(sent: tuple[str, ...], left: list[str]) -> None:
    assert _left({"require_parameters": True}, sent) == left


@pytest.mark.parametrize(
    ("preferences", "parameters", "excluded_by"),
    [
        ({"only": ["other"]}, (), ["allowed_providers"]),
        ({"only": []}, (), ["allowed_providers"]),
        ({"only": ["alpha/int"]}, (), ["allowed_providers"]),
        ({"ignore": ["alpha", "beta", "gamma"]}, (), ["allowed_providers"]),
        ({"order": ["other"], "allow_fallbacks": False}, (), ["allowed_providers"]),
        ({"quantizations": ["fp8"]}, (), ["quantization"]),
        ({"max_price": {"prompt": "0.001"}}, (), ["max_price"]),
        ({"require_parameters": True}, ("tools",), ["require_parameters"]),
        ({"zdr": True, "only": ["gamma"]}, (), ["allowed_providers", "data_policy:zdr"]),
        (
            {"data_collection": "deny", "zdr": True, "only": ["gamma"], "quantizations": ["bf16"]},
            (),
            ["allowed_providers", "data_policy:training", "data_policy:zdr", "quantization"],
        ),
    ],
)
def test_nothing_left_names_what_excluded_whom(
    preferences: dict[str, Any], parameters: tuple[str, ...], excluded_by: list[str]
) -> None:
    with pytest.raises(NotFoundError) as caught:
        _left(preferences, parameters)
    assert caught.value.availability == {
        "code": "constraint_filtered",
        "retryable": False,
        "requested_models": ["acme/embed"],
        "affected_providers": ["Alpha", "Beta", "Gamma"],
        "excluded_by": excluded_by,
    }
    for tag in _ALL:
        assert tag in caught.value.message


@pytest.mark.parametrize("price", ["", "x", "NaN", "-1", -0.5, "Infinity", "1,5", "$1"])
@pytest.mark.parametrize("field", ["prompt", "completion"])
def test_a_price_that_is_none_is_refused_by_name(field: str, price: str | float) -> None:
    with pytest.raises(InvalidRequestError, match=f"provider.max_price.{field}"):
        _left({"max_price": {field: price}})


@pytest.mark.parametrize("price", ["1e999999", "9" * 5000, 1e308])
def test_an_enormous_price_excludes_nobody_or_is_refused(price: str | float) -> None:
    try:
        assert _left({"max_price": {"prompt": price}}) == _ALL
    except InvalidRequestError as error:
        assert "provider.max_price.prompt" in error.message  # noqa: PT017


@pytest.mark.parametrize("price", ["1e-999999999", 1e-300, 0])
def test_a_tiny_price_excludes_everybody(price: str | float) -> None:
    with pytest.raises(NotFoundError, match="max_price"):
        _left({"max_price": {"prompt": price}})


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ("fp4", ["one/fp4", "one/mxfp4", "one/nvfp4"]),
        ("fp8", ["one/fp8", "one/mxfp8"]),
        ("mxfp4", ["one/mxfp4"]),
        ("mxfp8", ["one/mxfp8"]),
        ("fp6", ["one/fp6"]),
    ],
)
def test_a_quantization_includes_its_microscaled_kinds(wanted: str, left: list[str]) -> None:
    kinds = ("fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8")
    of_all_kinds = model("acme/embed", *(endpoint(f"one/{kind}", quantization=kind) for kind in kinds))
    assert sorted(tags(planned(of_all_kinds, {"quantizations": [wanted]}))) == left


@pytest.mark.parametrize(
    ("preferences", "constraints", "left"),
    [
        ({}, Constraints(allowed_providers=frozenset({"beta", "gamma"})), ["beta/us", "gamma"]),
        ({"only": ["alpha", "beta"]}, Constraints(allowed_providers=frozenset({"beta", "gamma"})), ["beta/us"]),
        ({"only": ["alpha"]}, Constraints(ignored_providers=frozenset({"beta"})), ["alpha/fp32", "alpha/int8"]),
        ({"ignore": ["gamma"]}, Constraints(ignored_providers=frozenset({"alpha"})), ["beta/us"]),
        ({}, Constraints(ignored_providers=frozenset({"alpha/int8"})), ["alpha/fp32", "beta/us", "gamma"]),
        ({}, Constraints(zdr=True), ["alpha/fp32", "alpha/int8"]),
        ({"zdr": False}, Constraints(zdr=True), ["alpha/fp32", "alpha/int8"]),
        ({"zdr": True}, Constraints(zdr=False), ["alpha/fp32", "alpha/int8"]),
        ({"data_collection": "allow"}, Constraints(no_training=True), ["alpha/fp32", "alpha/int8", "beta/us"]),
        ({"data_collection": "deny"}, Constraints(), ["alpha/fp32", "alpha/int8", "beta/us"]),
    ],
)
def test_a_guardrail_is_the_ceiling_of_what_a_request_may_ask(
    preferences: dict[str, Any], constraints: Constraints, left: list[str]
) -> None:
    assert sorted(tags(planned(_MODEL, preferences, constraints=constraints))) == left


def test_what_only_a_guardrail_excludes_is_told_apart() -> None:
    constraints = Constraints(ignored_providers=frozenset({"alpha", "gamma"}), zdr=True)
    with pytest.raises(NotFoundError) as caught:
        planned(_MODEL, {"ignore": ["gamma"]}, constraints=constraints)
    message = caught.value.message
    assert "alpha/fp32: allowed_providers (guardrail); " in message
    assert "beta/us: data_policy:zdr (guardrail); " in message
    assert "gamma: allowed_providers, data_policy:zdr (guardrail))" in message
    assert (caught.value.availability or {})["excluded_by"] == ["allowed_providers", "data_policy:zdr"]


@pytest.mark.parametrize(
    "constraints",
    [
        Constraints(allowed_models=frozenset({"other/model"})),
        Constraints(allowed_models=frozenset()),
        Constraints(ignored_models=frozenset({"acme/embed-20251117"})),
        Constraints(ignored_models=frozenset({"acme/embed"})),
    ],
)
def test_a_model_that_a_guardrail_excludes_is_forbidden(constraints: Constraints) -> None:
    with pytest.raises(PermissionDeniedError, match=r"guardrail .* acme/embed"):
        planned(_MODEL, constraints=constraints)


@pytest.mark.parametrize("name", ["acme/embed", "acme/embed-20251117"])
def test_a_model_that_a_guardrail_allows_is_served(name: str) -> None:
    assert len(tags(planned(_MODEL, constraints=Constraints(allowed_models=frozenset({name}))))) == len(_ALL)


_SHORT_AND_LONG = model(
    "acme/embed", endpoint("alpha", 1, context_length=512), endpoint("beta", 2, context_length=8192)
)


@pytest.mark.parametrize(
    ("tokens", "left"), [(None, ["alpha", "beta"]), (512, ["alpha", "beta"]), (513, ["beta"]), (8192, ["beta"])]
)
def test_endpoints_too_short_for_the_longest_input_are_left_out(tokens: int | None, left: list[str]) -> None:
    assert tags(planned(_SHORT_AND_LONG, tokens=tokens)) == left


def test_an_input_that_only_an_excluded_endpoint_could_read_says_so() -> None:
    with pytest.raises(NotFoundError, match=r"alpha: context_length; beta: allowed_providers") as caught:
        planned(_SHORT_AND_LONG, {"ignore": ["beta"]}, tokens=513)
    assert (caught.value.availability or {})["excluded_by"] == ["allowed_providers", "context_length"]


def test_an_input_that_no_endpoint_could_read_is_too_long() -> None:
    with pytest.raises(ContextLengthExceededError, match=r"8,193 tokens.*8,192") as caught:
        planned(_SHORT_AND_LONG, {"ignore": ["beta"]}, tokens=8193)
    assert caught.value.status == 400
    assert caught.value.metadata == {"tokens": 8193, "limit": 8192}
    assert (caught.value.availability or {})["code"] == "constraint_filtered"


_HIDDEN = model(
    "acme/embed",
    endpoint("alpha"),
    endpoint("closed", disabled=True),
    endpoint("secret", private_to="workspace-1"),
)


@pytest.mark.parametrize(
    ("workspace", "left"), [("workspace-1", ["alpha", "secret"]), ("2", ["alpha"]), (None, ["alpha"])]
)
def test_a_private_endpoint_serves_its_workspace_and_a_disabled_one_nobody(
    workspace: str | None, left: list[str]
) -> None:
    assert sorted(tags(planned(_HIDDEN, constraints=Constraints(workspace_id=workspace)))) == left


@pytest.mark.parametrize("preferences", [{"only": ["secret"]}, {"only": ["closed"]}, {"only": ["secre"]}])
def test_an_invisible_endpoint_is_not_even_in_the_reasons(preferences: dict[str, Any]) -> None:
    with pytest.raises(NotFoundError) as caught:
        planned(_HIDDEN, preferences, constraints=Constraints(workspace_id="other"))
    told = caught.value.message.replace(f'"{preferences["only"][0]}"', "") + repr(caught.value.availability)
    assert "secret" not in told.lower()
    assert "closed" not in told.lower()


def test_a_model_without_an_endpoint_to_see_has_none() -> None:
    with pytest.raises(NotFoundError, match="no provider that serves it is enabled") as caught:
        planned(model("acme/embed", endpoint("alpha", disabled=True)))
    assert (caught.value.availability or {})["code"] == "no_endpoints"


@pytest.mark.parametrize(
    ("preferences", "hint"),
    [
        ({"only": ["gama"]}, 'provider.only: "gama" does not serve it; did you mean "gamma"?'),
        ({"only": ["Alpha/INT4"]}, 'provider.only: "Alpha/INT4" does not serve it; did you mean "alpha/int8"?'),
        (
            {"order": ["betta"], "allow_fallbacks": False},
            'provider.order: "betta" does not serve it; did you mean "beta"',
        ),
        ({"only": ["zzz"]}, 'provider.only: "zzz" does not serve it'),
    ],
)
def test_a_slug_that_names_nobody_is_told_with_the_nearest_one(preferences: dict[str, Any], hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        _left(preferences)
    assert hint in caught.value.message


def test_an_unknown_slug_beside_a_known_one_just_matches_nothing() -> None:
    assert tags(planned(_MODEL, {"order": ["gama", "gamma"]}))[0] == "gamma"
    assert tags(planned(_MODEL, {"only": ["gama", "gamma"]})) == ["gamma"]


@pytest.mark.parametrize("slug", ["zeta", "zeta/turbo", "ZETA"])
def test_a_provider_that_lacks_but_a_credential_says_so(slug: str) -> None:
    zeta = Provider(slug="zeta", name="Zeta", credential_env="ZETA_KEY")
    some = msgspec.structs.replace(_MODEL, waiting=(zeta,))
    with pytest.raises(NotFoundError, match=r"provider\.only: Zeta has no credential here; set ZETA_KEY"):
        planned(some, {"only": [slug]})
    with pytest.raises(NotFoundError, match="does not serve it"):
        planned(some, {"only": ["eta"]})


def test_absurdly_long_slugs_are_not_repeated() -> None:
    with pytest.raises(NotFoundError) as caught:
        _left({"only": ["x" * 1_000_000] * 100})
    assert len(caught.value.message) < 1_000
