"""What analytics can tell: metrics, computed from sums, and dimensions to group and filter by."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from embedrouter.money import usd

Number = int | float | None
Format = Literal["number", "currency", "percent", "latency", "throughput"]


class Sums(NamedTuple):
    """What `usage` sums up of generations; a generation by itself is a sum of one."""

    requests: int
    failures: int
    cache_hits: int
    inputs: int
    prompt_tokens: int
    cost_pico: int
    latency_us: int
    generation_us: int
    upstream_pico: int


class Metric(NamedTuple):
    """One number about a group of requests."""

    name: str
    label: str
    format: Format
    is_rate: bool
    value: Callable[[Sums], Number]
    percent: int | None = None  # of a percentile of latency, which sums cannot tell


class Dimension(NamedTuple):
    """Something to group by. The first of its columns in an answer is what people call it."""

    name: str
    label: str
    columns: tuple[str, ...]


def _nothing(_: Sums) -> Number:
    return 0


def _no_money(_: Sums) -> Number:
    return 0.0


def _share(part: int, whole: int, scale: float = 1.0) -> Number:
    return part / whole * scale if whole else None


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("request_count", "Requests", "number", False, lambda sums: sums.requests),
        Metric("total_usage", "Usage", "currency", False, lambda sums: usd(sums.cost_pico)),
        Metric("tokens_total", "Tokens", "number", False, lambda sums: sums.prompt_tokens),
        Metric("tokens_prompt", "Prompt tokens", "number", False, lambda sums: sums.prompt_tokens),
        # Embeddings complete and reason nothing.
        Metric("tokens_completion", "Completion tokens", "number", False, _nothing),
        Metric("reasoning_tokens", "Reasoning tokens", "number", False, _nothing),
        Metric("inputs", "Inputs", "number", False, lambda sums: sums.inputs),
        Metric("cache_hit_rate", "Cache hits", "percent", True, lambda sums: _share(sums.cache_hits, sums.requests)),
        Metric("error_rate", "Errors", "percent", True, lambda sums: _share(sums.failures, sums.requests)),
        Metric("usage_upstream", "Upstream usage", "currency", False, lambda sums: usd(sums.upstream_pico)),
        # Nothing is charged for these here.
        Metric("usage_cache", "Cache usage", "currency", False, _no_money),
        Metric("usage_data", "Data usage", "currency", False, _no_money),
        Metric("usage_web", "Web search usage", "currency", False, _no_money),
        Metric("usage_file", "File usage", "currency", False, _no_money),
        Metric("latency", "Latency", "latency", True, lambda sums: _share(sums.latency_us, sums.requests, 0.001)),
        Metric("latency_p50", "Latency, half are faster", "latency", True, _nothing, 50),
        Metric("latency_p99", "Latency, 99 % are faster", "latency", True, _nothing, 99),
        Metric(
            "throughput",
            "Prompt tokens per second",
            "throughput",
            True,
            lambda sums: _share(sums.prompt_tokens, sums.generation_us, 1e6),
        ),
    )
}

DIMENSIONS: Final = {
    dimension.name: dimension
    for dimension in (
        Dimension("model", "Model", ("model",)),
        Dimension("provider", "Provider", ("provider",)),
        Dimension("api_key_id", "API key", ("api_key_id", "api_key_hash")),
        Dimension("app", "App", ("app", "app_id")),
        Dimension("workspace", "Workspace", ("workspace", "workspace_id")),
        Dimension("user", "User", ("user", "user_email", "user_id")),
        Dimension("generation_id", "Generation", ("generation_id",)),
    )
}
