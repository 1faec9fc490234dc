"""What an endpoint's health says to readers: uptimes, latencies and throughputs as OpenRouter shows them."""

from typing import Any, Final

from embedrouter.routing.facts import Percentiles
from embedrouter.routing.health import Health

_STATUS: Final = {"normal": 0, "degraded": -2, "down": -5}
_5M, _30M, _1D = 300.0, 1_800.0, 86_400.0  # seconds


def performance(health: Health, endpoint: str) -> dict[str, Any]:
    """endpoint: its id. Null is "no data", never a made-up number."""
    latency = _all(health.percentiles(endpoint, "latency", _30M), 1000.0)
    throughput = _all(health.percentiles(endpoint, "throughput", _30M), 1.0)
    workload = {"latency": latency, "throughput": throughput, "request_count": health.request_count(endpoint, _30M)}
    return {
        "status": _STATUS[health.facts(endpoint).tier],
        "uptime_last_5m": health.uptime(endpoint, _5M),
        "uptime_last_30m": health.uptime(endpoint, _30M),
        "uptime_last_1d": health.uptime(endpoint, _1D),
        "latency_last_30m": latency,
        "throughput_last_30m": throughput,
        "perf_last_30m_by_workload": {"embeddings": workload},
    }


def _all(found: Percentiles | None, times: float) -> dict[str, float] | None:
    """Milliseconds, or tokens a second."""
    return None if found is None else {name: round(value * times, 3) for name, value in found._asdict().items()}
