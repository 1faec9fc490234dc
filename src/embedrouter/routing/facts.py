"""What routing knows of an endpoint now: what health measured, as the plan needs it."""

from typing import Literal, NamedTuple

Tier = Literal["normal", "degraded", "down"]  # uptime at least 95 %, at least 80 %, below


class Percentiles(NamedTuple):
    """Of the last five minutes."""

    p50: float
    p75: float
    p90: float
    p99: float


class Facts(NamedTuple):
    """The defaults are an endpoint's that nobody has asked yet."""

    outage: bool = False  # a significant one in the last 30 seconds
    tier: Tier = "normal"
    closed: bool = False  # its breaker lets nothing through now, or its Retry-After runs: not to be asked at all
    latency: Percentiles | None = None  # seconds, end to end
    throughput: Percentiles | None = None  # prompt tokens a second; p90: what 90 % of requests achieve at least
    reason: Literal["rate_limited", "failing"] | None = None  # why it is closed
    retry_after: float | None = None  # seconds until it may be asked again, where that is known
