"""Which models a listing shows, and in which order. Pure functions."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

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


_PER_MILLION: Final = 1_000_000  # USD per million tokens is this many pico-USD per token

Words = Annotated[str, Meta(max_length=1000)]  # with commas between
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]  # per million prompt tokens
Tokens = Annotated[int, Meta(ge=0, le=100_000_000)]


class ModelQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A listing's query parameters, by their names; the API and the website take the same."""

    q: Words | None = None
    output_modalities: Words | None = None
    input_modalities: Words | None = None
    context: Tokens | None = None
    min_price: Usd | None = None
    max_price: Usd | None = None
    model_authors: Words | None = None
    providers: Words | None = None
    supported_parameters: Words | None = None
    zdr: Literal["true", "false"] | None = None
    sort: Sort | None = None


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


def words(csv: str | None) -> tuple[str, ...]:
    """Those between the commas."""
    return tuple(word.strip() for word in (csv or "").split(",") if word.strip())


def wanted(query: ModelQuery) -> ModelFilter:
    """What a query asks to see."""
    return ModelFilter(
        output_modalities=words(query.output_modalities),
        input_modalities=words(query.input_modalities),
        text=query.q,
        context=query.context,
        min_price=None if query.min_price is None else query.min_price * _PER_MILLION,
        max_price=None if query.max_price is None else query.max_price * _PER_MILLION,
        authors=words(query.model_authors),
        providers=words(query.providers),
        parameters=words(query.supported_parameters),
        zdr=query.zdr == "true",
        sort=query.sort,
    )


def select(models: Iterable[Model], asked: ModelFilter) -> list[Model]:
    """The models that match, sorted as asked. Orders that need usage we do not keep yet leave the catalog's order."""
    found = [model for model in models if _matches(model, asked)]
    if asked.sort == "newest":
        found.sort(key=lambda model: -model.created)
    elif asked.sort == "context-high-to-low":
        found.sort(key=lambda model: -model.context_length)
    elif asked.sort in ("pricing-low-to-high", "pricing-high-to-low"):
        found.sort(key=cheapest, reverse=asked.sort == "pricing-high-to-low")
    return found


def _matches(model: Model, asked: ModelFilter) -> bool:
    slugs = {endpoint.provider.slug for endpoint in model.endpoints}
    return (
        _overlap(asked.output_modalities, {"embeddings", "all"})
        and _overlap(asked.input_modalities, {"text", "all"})
        and (not asked.text or asked.text.lower() in f"{model.name} {model.slug}".lower())
        and (asked.context is None or model.context_length >= asked.context)
        and (asked.min_price is None or cheapest(model) >= asked.min_price)
        and (asked.max_price is None or cheapest(model) <= asked.max_price)
        and _overlap(asked.authors, {model.author.lower()})
        and _overlap(asked.providers, {slug.lower() for slug in slugs})
        and set(asked.parameters) <= set(model.supported_parameters)
        and (not asked.zdr or any(not endpoint.data_policy.retains_prompts for endpoint in model.endpoints))
    )


def _overlap(wanted: tuple[str, ...], has: set[str]) -> bool:
    return not wanted or any(word.lower() in has for word in wanted)


def cheapest(model: Model) -> int:
    """Its lowest price, in pico-USD per prompt token."""
    return min(endpoint.price.prompt for endpoint in model.endpoints)
