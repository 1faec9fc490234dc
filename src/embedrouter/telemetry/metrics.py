"""Prometheus metrics. Every series exists from the start, with a fixed and small set of labels.

Labels never carry what a client chose: no model names, keys or texts, so that no caller can grow the set.
"""

import platform
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
STATUSES: Final = (
    "200",
    "400",
    "401",
    "402",
    "403",
    "404",
    "405",
    "408",
    "413",
    "429",
    "499",
    "500",
    "502",
    "503",
    "504",
)
REJECTS: Final = (
    "invalid_request",
    "context_length_exceeded",
    "authentication",
    "payment_required",
    "permission_denied",
    "rate_limit_exceeded",
    "not_found",
    "timeout",
    "payload_too_large",
    "provider_overloaded",
    "provider_unavailable",
    "server",
    "client_closed",
)
PARTS: Final = ("receive", "route", "provider", "settle")
OUTCOMES: Final = ("done", "failed", "retried")
STAGES: Final = ("decode", "tokenize", "queue", "compute", "encode")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self, build: dict[str, str]) -> None:
        """build: labels of `embedrouter_build_info`: version, engine, precision, weights."""
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        self._requests = Counter("embedrouter_requests", "Embeddings requests answered.", ["status"], registry=registry)
        self._requests_by_status = {status: self._requests.labels(status) for status in STATUSES}
        self._rejects = Counter(
            "embedrouter_rejects", "Embeddings requests refused or failed.", ["reason"], registry=registry
        )
        self._rejects_by_reason = {reason: self._rejects.labels(reason) for reason in REJECTS}
        self.inputs = Counter("embedrouter_inputs", "Inputs embedded.", registry=registry)
        self.tokens = Counter("embedrouter_prompt_tokens", "Prompt tokens embedded and billed.", registry=registry)
        self.truncations = Counter("embedrouter_truncated_inputs", "Inputs cut at 256 tokens.", registry=registry)
        self.windows = Counter(
            "embedrouter_extra_windows", "Sequences computed beyond the first of each input.", registry=registry
        )
        self.duration = Histogram(
            "embedrouter_request_seconds", "From the request's head to its answer.", buckets=_SECONDS, registry=registry
        )
        stages = Histogram(
            "embedrouter_stage_seconds",
            "Time by stage; queue and compute are per batch, tokenize per tokenizer call.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stages = {stage: stages.labels(stage) for stage in STAGES}
        parts = Histogram(
            "embedrouter_part_seconds",
            "Time of an answered request by part; all but the provider's is our own overhead.",
            ["part"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.parts = [parts.labels(part) for part in PARTS]
        self.batch_size = Histogram(
            "embedrouter_batch_sequences", "Sequences in a computed batch.", buckets=_SIZES, registry=registry
        )
        self.batch_tokens = Histogram(
            "embedrouter_batch_tokens",
            "Tokens in a computed batch, without padding.",
            buckets=_SIZES,
            registry=registry,
        )
        self.batch_failures = Counter("embedrouter_batch_failures", "Batches that failed.", registry=registry)
        self.commit_seconds = Histogram(
            "embedrouter_commit_seconds",
            "Transactions of the database's writer, from begin to commit.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.commit_works = Histogram(
            "embedrouter_commit_works", "Holds, settlements and other writes in one.", buckets=_SIZES, registry=registry
        )
        lines = Counter("embedrouter_batch_lines", "Lines of batch jobs.", ["outcome"], registry=registry)
        self.batch_lines = {outcome: lines.labels(outcome) for outcome in OUTCOMES}
        self.last_answered = 0.0  # time.monotonic()
        self.in_flight = 0  # a plain number, read when it is scraped: it changes twice a request
        self.watch("requests_in_flight", "Embeddings requests being served.", lambda: self.in_flight)
        info = Gauge("embedrouter_build_info", "What runs here; always 1.", [*build, "python"], registry=registry)
        info.labels(*build.values(), platform.python_version()).set(1)

    def answered(self, status: int, seconds: float) -> None:
        """Count one embeddings request by its HTTP status."""
        series = self._requests_by_status.get(str(status))
        if series is None:
            series = self._requests_by_status["500"]
        series.inc()
        self.last_answered = time.monotonic()
        self.duration.observe(seconds)

    def embedded(self, inputs: int, tokens: int, truncated: int, windows: int) -> None:
        """Count what one answered request embedded."""
        self.inputs.inc(inputs)
        self.tokens.inc(tokens)
        if truncated:
            self.truncations.inc(truncated)
        if windows:
            self.windows.inc(windows)

    def rejected(self, reason: str) -> None:
        """Count one refused embeddings request by its error type."""
        self._rejects_by_reason.get(reason, self._rejects_by_reason["server"]).inc()

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is scraped."""
        Gauge(f"embedrouter_{name}", description, registry=self.registry).set_function(read)

    def watch_count(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A counter that its owner keeps; it is read when it is scraped."""
        self.registry.register(_Count(f"embedrouter_{name}", description, read))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


class _Count(Collector):
    def __init__(self, name: str, description: str, read: Callable[[], float]) -> None:
        self._name = name
        self._description = description
        self._read = read

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._description, self._read())
