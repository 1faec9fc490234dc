"""The request's `provider` object: which of a model's endpoints it leaves, and what excluded the others.

Hard filters only. Order among several endpoints needs several endpoints; it comes with them.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.errors import InvalidRequestError, NotFoundError

Slugs = Annotated[list[str], msgspec.Meta(max_length=100)]
Cutoff = float | dict[Literal["p50", "p75", "p90", "p99"], float]
Quantization = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"
]


class SortConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The long form of `sort`."""

    by: Literal["price", "throughput", "latency", "exacto"] | None = None
    partition: Literal["model", "none"] | None = None


class MaxPrice(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens, as a number or a decimal string; `request`, `image`, `audio` in USD each."""

    prompt: float | str | None = None
    completion: float | str | None = None
    request: float | str | None = None
    image: float | str | None = None
    audio: float | str | None = None


class ProviderPreferences(msgspec.Struct, frozen=True, kw_only=True):
    """OpenRouter's provider preferences; None means "not set"."""

    order: Slugs | None = None
    allow_fallbacks: bool | None = None
    only: Slugs | None = None
    ignore: Slugs | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[Quantization] | None = None
    sort: Literal["price", "throughput", "latency", "exacto"] | SortConfig | None = None
    max_price: MaxPrice | None = None
    preferred_min_throughput: Cutoff | None = None
    preferred_max_latency: Cutoff | None = None


def permitted(model: Model, preferences: ProviderPreferences, parameters: Iterable[str]) -> list[Endpoint]:
    """The endpoints of `model` that the preferences leave, never empty.

    parameters: names of the parameters the request carries. Raises NotFoundError with what excluded whom.
    """
    sent = set(parameters)
    left: list[Endpoint] = []
    excluded: dict[str, list[str]] = {}
    for endpoint in model.endpoints:
        reasons = _exclusions(endpoint, preferences, sent)
        if reasons:
            excluded[endpoint.tag] = reasons
        else:
            left.append(endpoint)
    if left:
        return left
    why = "; ".join(f"{tag}: {', '.join(reasons)}" for tag, reasons in excluded.items())
    raise NotFoundError(
        f"No endpoints found for {model.slug} that meet this request's provider preferences ({why})",
        availability={
            "code": "constraint_filtered",
            "retryable": False,
            "requested_models": [model.slug],
            "affected_providers": sorted({e.provider.name for e in model.endpoints}),
            "excluded_by": sorted({reason for reasons in excluded.values() for reason in reasons}),
        },
    )


def _exclusions(endpoint: Endpoint, wanted: ProviderPreferences, sent: set[str]) -> list[str]:
    reasons = []
    exclusive = wanted.order if wanted.order is not None and wanted.allow_fallbacks is False else None
    if (
        (wanted.only is not None and not _named(endpoint, wanted.only))
        or (wanted.ignore is not None and _named(endpoint, wanted.ignore))
        or (exclusive is not None and not _named(endpoint, exclusive))
    ):
        reasons.append("allowed_providers")
    if wanted.quantizations and endpoint.quantization not in wanted.quantizations:
        reasons.append("quantization")
    if wanted.zdr and endpoint.data_policy.retains_prompts:
        reasons.append("data_policy:zdr")
    if wanted.data_collection == "deny" and endpoint.data_policy.trains_on_prompts:
        reasons.append("data_policy:training")
    if wanted.max_price is not None and _too_dear(endpoint, wanted.max_price):
        reasons.append("max_price")
    if wanted.require_parameters and not sent <= set(endpoint.supported_parameters):
        reasons.append("require_parameters")
    return reasons


def _named(endpoint: Endpoint, slugs: Iterable[str]) -> bool:
    names = {endpoint.tag.lower(), endpoint.provider.slug.lower(), endpoint.provider.name.lower()}
    return any(slug.lower() in names for slug in slugs)


def _too_dear(endpoint: Endpoint, limit: MaxPrice) -> bool:
    prompt = _pico_per_token(limit.prompt, "prompt")
    completion = _pico_per_token(limit.completion, "completion")
    return (prompt is not None and endpoint.price.prompt > prompt) or (
        completion is not None and endpoint.price.completion > completion
    )


def _pico_per_token(usd_per_million: float | str | None, field: str) -> Decimal | None:
    """USD per million tokens is pico-USD per token times 10^6."""
    if usd_per_million is None:
        return None
    try:
        value = Decimal(str(usd_per_million)) * 1_000_000
        is_price = value.is_finite() and value >= 0
    except ArithmeticError:
        is_price = False
    if not is_price:
        raise InvalidRequestError(
            f"provider.max_price.{field} must be a price in USD per million tokens, such as 0.02",
            metadata={"field": f"provider.max_price.{field}"},
        )
    return value
