"""The request's provider preferences: what they leave, and what the refusal says."""

from typing import Any

import pytest

from server import Server


@pytest.fixture(scope="module")
def quantization(live: Server) -> str:
    endpoint = live.get("/api/v1/models/sentence-transformers/all-minilm-l6-v2/endpoints").json()["data"]["endpoints"][
        0
    ]
    found: str = endpoint["quantization"]
    return found


@pytest.mark.parametrize(
    "preferences",
    [
        {},
        {"only": ["builtin"]},
        {"only": ["BUILTIN", "other"]},
        {"only": ["Builtin"]},
        {"ignore": ["other"]},
        {"ignore": []},
        {"order": ["other"]},
        {"order": ["other", "builtin"], "allow_fallbacks": False},
        {"allow_fallbacks": False},
        {"quantizations": []},
        {"zdr": True},
        {"zdr": False, "data_collection": "deny"},
        {"data_collection": "allow"},
        {"max_price": {"prompt": 0.005}},
        {"max_price": {"prompt": "0.005", "completion": "0"}},
        {"max_price": {"completion": 0, "request": 0, "image": 0, "audio": 0}},
        {"require_parameters": True},
        {"enforce_distillable_text": True},
        {"sort": "price"},
        {"sort": {"by": "latency", "partition": "none"}},
        {"sort": None, "only": None, "max_price": None, "quantizations": None},
        {"preferred_max_latency": 0.001, "preferred_min_throughput": {"p50": 1e9, "p99": 1}},
    ],
)
def test_preferences_that_the_endpoint_meets_leave_it(live: Server, preferences: dict[str, Any]) -> None:
    assert live.embed("hello", provider=preferences).json()["provider"] == "Builtin"


@pytest.mark.parametrize(
    ("preferences", "excluded_by"),
    [
        ({"only": ["other"]}, ["allowed_providers"]),
        ({"only": ["builtin/other"]}, ["allowed_providers"]),
        ({"ignore": ["builtin"]}, ["allowed_providers"]),
        ({"only": ["builtin"], "ignore": ["builtin"]}, ["allowed_providers"]),
        ({"order": ["other"], "allow_fallbacks": False}, ["allowed_providers"]),
        ({"quantizations": ["int4"]}, ["quantization"]),
        ({"max_price": {"prompt": 0.0049}}, ["max_price"]),
        ({"max_price": {"prompt": "0.004999999"}}, ["max_price"]),
        ({"max_price": {"prompt": 0}}, ["max_price"]),
        ({"quantizations": ["int8", "int4"], "only": ["other"]}, ["allowed_providers", "quantization"]),
    ],
)
def test_preferences_that_leave_nobody_say_what_excluded_whom(
    live: Server, preferences: dict[str, Any], excluded_by: list[str]
) -> None:
    missing = live.embed("hello", provider=preferences).error(404, "not_found")
    availability = missing["availability"]
    assert availability["code"] == "constraint_filtered"
    assert availability["retryable"] is False
    assert availability["requested_models"] == ["sentence-transformers/all-minilm-l6-v2"]
    assert availability["affected_providers"] == ["Builtin"]
    assert availability["excluded_by"] == excluded_by
    assert all(reason in missing["message"] for reason in excluded_by)


def test_the_endpoints_tag_and_quantization_can_be_asked_for(live: Server, quantization: str) -> None:
    assert live.embed("hello", provider={"only": [f"builtin/{quantization}"]}).status == 200
    assert live.embed("hello", provider={"quantizations": ["int8", quantization]}).status == 200
    other = "fp32" if quantization == "bf16" else "bf16"
    live.embed("hello", provider={"quantizations": [other]}).error(404, "not_found")


def test_required_parameters_are_all_supported(live: Server) -> None:
    eleven: dict[str, Any] = {
        "max_tokens": 1, "temperature": 1, "top_p": 1, "stop": "x", "frequency_penalty": 0, "presence_penalty": 0,
        "repetition_penalty": 1, "top_k": 1, "seed": 1, "min_p": 0, "response_format": {"type": "text"},
    }  # fmt: skip
    assert live.embed("hello", provider={"require_parameters": True}, **eleven).status == 200


@pytest.mark.parametrize(
    "preferences",
    [
        {"only": "builtin"},
        {"only": [1]},
        {"only": ["x"] * 101},
        {"order": [None]},
        {"allow_fallbacks": "yes"},
        {"quantizations": ["q4_k_m"]},
        {"quantizations": "fp32"},
        {"data_collection": "maybe"},
        {"zdr": 1},
        {"sort": "speed"},
        {"sort": {"by": "speed"}},
        {"sort": {"partition": "provider"}},
        {"max_price": 1},
        {"max_price": {"prompt": "cheap"}},
        {"max_price": {"prompt": ""}},
        {"max_price": {"prompt": -1}},
        {"max_price": {"prompt": "NaN"}},
        {"max_price": {"prompt": "Infinity"}},
        {"max_price": {"prompt": "sNaN"}},
        {"max_price": {"completion": "-0.1"}},
        {"max_price": {"prompt": True}},
        {"preferred_max_latency": "fast"},
        {"preferred_min_throughput": {"p100": 1}},
    ],
)
def test_wrong_preferences_are_refused_by_name(live: Server, preferences: dict[str, Any]) -> None:
    refused = live.embed("hello", provider=preferences).error(400, "invalid_request")
    assert f"provider.{next(iter(preferences))}" in refused["message"]


@pytest.mark.parametrize(
    "price", ["1e999999", "1e5000000", "-1e5000000", "1e-999999999", "9" * 10_000, "0." + "0" * 9999]
)
def test_absurd_prices_never_fail_the_server(live: Server, price: str) -> None:
    assert live.embed("hello", provider={"max_price": {"prompt": price}}).status in (200, 400, 404)
