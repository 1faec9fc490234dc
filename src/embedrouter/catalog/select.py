"""Which models a listing shows, and in which order. Pure functions."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from embedrouter.catalog.models import Model

Sort = Literal[
    "most-popular",
    "newest",
    "top-weekly",
    "pricing-low-to-high",
    "pricing-high-to-low",
    "context-high-to-low",
    "throughput-high-to-low",
    "latency-low-to-high",
]


class ModelFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asked to see; None or empty means "any". Prices in pico-USD per prompt token."""

    output_modalities: tuple[str, ...] = ()
    input_modalities: tuple[str, ...] = ()
    text: str | None = None
    context: int | None = None
    min_price: float | None = None
    max_price: float | None = None
    authors: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    zdr: bool = False
    sort: Sort | None = None


def select(models: Iterable[Model], wanted: ModelFilter) -> list[Model]:
    """The models that match, sorted as asked. Orders that need usage we do not keep yet leave the catalog's order."""
    found = [model for model in models if _matches(model, wanted)]
    if wanted.sort == "newest":
        found.sort(key=lambda model: -model.created)
    elif wanted.sort == "context-high-to-low":
        found.sort(key=lambda model: -model.context_length)
    elif wanted.sort in ("pricing-low-to-high", "pricing-high-to-low"):
        found.sort(key=_cheapest, reverse=wanted.sort == "pricing-high-to-low")
    return found


def _matches(model: Model, wanted: ModelFilter) -> bool:
    slugs = {endpoint.provider.slug for endpoint in model.endpoints}
    return (
        _overlap(wanted.output_modalities, {"embeddings", "all"})
        and _overlap(wanted.input_modalities, {"text", "all"})
        and (not wanted.text or wanted.text.lower() in f"{model.name} {model.slug}".lower())
        and (wanted.context is None or model.context_length >= wanted.context)
        and (wanted.min_price is None or _cheapest(model) >= wanted.min_price)
        and (wanted.max_price is None or _cheapest(model) <= wanted.max_price)
        and _overlap(wanted.authors, {model.author.lower()})
        and _overlap(wanted.providers, {slug.lower() for slug in slugs})
        and set(wanted.parameters) <= set(model.supported_parameters)
        and (not wanted.zdr or any(not endpoint.data_policy.retains_prompts for endpoint in model.endpoints))
    )


def _overlap(wanted: tuple[str, ...], has: set[str]) -> bool:
    return not wanted or any(word.lower() in has for word in wanted)


def _cheapest(model: Model) -> int:
    return min(endpoint.price.prompt for endpoint in model.endpoints)
