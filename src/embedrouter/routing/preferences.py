"""The request's `provider` object, as it is decoded; `plan` obeys it."""

from typing import Annotated, Literal

import msgspec

Slugs = Annotated[list[str], msgspec.Meta(max_length=100)]
Cutoff = float | dict[Literal["p50", "p75", "p90", "p99"], float | None]
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
