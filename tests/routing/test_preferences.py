from typing import Any

import msgspec
import pytest

from catalog.models import endpoint, model
from embedrouter.catalog.models import DataPolicy
from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.routing.preferences import ProviderPreferences, permitted

_MODEL = model(
    "acme/embed",
    endpoint("alpha/fp32", 5_000),
    endpoint("alpha/int8", 2_000, quantization="int8", supported_parameters=()),
    endpoint("beta/us", 8_000, data_policy=DataPolicy(retains_prompts=True, trains_on_prompts=False)),
    endpoint("gamma", 9_000, quantization="bf16", data_policy=DataPolicy(retains_prompts=True, trains_on_prompts=True)),
)
_ALL = ["alpha/fp32", "alpha/int8", "beta/us", "gamma"]


def _left(preferences: dict[str, Any], parameters: tuple[str, ...] = ()) -> list[str]:
    decided = msgspec.convert(preferences, ProviderPreferences)
    return [one.tag for one in permitted(_MODEL, decided, parameters)]


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
