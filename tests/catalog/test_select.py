from typing import Any

import pytest

from embedrouter.catalog.models import DataPolicy
from embedrouter.catalog.select import ModelFilter, select

from .models import endpoint, model

_KEEPS = DataPolicy(retains_prompts=True, trains_on_prompts=True)
_CHEAP = model("acme/cheap", endpoint("alpha/1", 1_000), created=1, context_length=512)
_DEAR = model("acme/dear", endpoint("alpha/1", 90_000), endpoint("beta/1", 80_000), created=3, context_length=8192)
_KEEPER = model(
    "globex/keeper",
    endpoint("beta/1", 5_000, data_policy=_KEEPS, supported_parameters=("seed", "top_k")),
    created=2,
    context_length=2048,
)
_MODELS = (_CHEAP, _DEAR, _KEEPER)


def _names(**wanted: Any) -> list[str]:
    return [found.slug.partition("/")[2] for found in select(_MODELS, ModelFilter(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["cheap", "dear", "keeper"]),
        ({"output_modalities": ("embeddings",)}, ["cheap", "dear", "keeper"]),
        ({"output_modalities": ("ALL",)}, ["cheap", "dear", "keeper"]),
        ({"output_modalities": ("text", "image")}, []),
        ({"output_modalities": ("text", "embeddings")}, ["cheap", "dear", "keeper"]),
        ({"input_modalities": ("text",)}, ["cheap", "dear", "keeper"]),
        ({"input_modalities": ("image",)}, []),
        ({"text": "KEEP"}, ["keeper"]),
        ({"text": "acme/"}, ["cheap", "dear"]),
        ({"text": ""}, ["cheap", "dear", "keeper"]),
        ({"context": 2048}, ["dear", "keeper"]),
        ({"context": 2049}, ["dear"]),
        ({"min_price": 5_000}, ["dear", "keeper"]),
        ({"max_price": 5_000}, ["cheap", "keeper"]),
        ({"max_price": 80_000}, ["cheap", "dear", "keeper"]),
        ({"min_price": 1_001, "max_price": 79_999}, ["keeper"]),
        ({"authors": ("ACME",)}, ["cheap", "dear"]),
        ({"authors": ("acme", "globex")}, ["cheap", "dear", "keeper"]),
        ({"authors": ("other",)}, []),
        ({"providers": ("beta",)}, ["dear", "keeper"]),
        ({"providers": ("Alpha",)}, ["cheap", "dear"]),
        ({"parameters": ("seed",)}, ["cheap", "dear", "keeper"]),
        ({"parameters": ("seed", "top_k")}, ["keeper"]),
        ({"parameters": ("tools",)}, []),
        ({"zdr": True}, ["cheap", "dear"]),
        ({"zdr": True, "providers": ("beta",)}, ["dear"]),
    ],
)
def test_filters(wanted: dict[str, Any], found: list[str]) -> None:
    assert _names(**wanted) == found


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        (None, ["cheap", "dear", "keeper"]),
        ("newest", ["dear", "keeper", "cheap"]),
        ("context-high-to-low", ["dear", "keeper", "cheap"]),
        ("pricing-low-to-high", ["cheap", "keeper", "dear"]),
        ("pricing-high-to-low", ["dear", "keeper", "cheap"]),
        ("most-popular", ["cheap", "dear", "keeper"]),
        ("top-weekly", ["cheap", "dear", "keeper"]),
        ("throughput-high-to-low", ["cheap", "dear", "keeper"]),
        ("latency-low-to-high", ["cheap", "dear", "keeper"]),
    ],
)
def test_orders(sort: Any, found: list[str]) -> None:
    assert _names(sort=sort) == found


def test_a_model_costs_what_its_cheapest_endpoint_costs() -> None:
    assert _names(min_price=85_000) == []
    assert _names(min_price=80_000) == ["dear"]
