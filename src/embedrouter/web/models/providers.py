"""Who serves a model: a row an endpoint."""

from typing import Final, Literal, NamedTuple

from embedrouter.catalog.models import Endpoint, Model, endpoint_id
from embedrouter.context import Context
from embedrouter.routing.health import Health

Tone = Literal["", "good", "warn", "bad"]

GOOD: Final = 95.0  # percent of uptime
FAIR: Final = 85.0
_DAY: Final = 86_400.0  # seconds


class Row(NamedTuple):
    """An endpoint, and how it did in the last 24 hours. None: nothing was observed."""

    endpoint: Endpoint
    latency_ms: float | None  # half of the answers were faster
    throughput: float | None  # prompt tokens a second; half reached it
    uptime: float | None  # percent
    status: str
    status_tone: Tone

    @property
    def uptime_tone(self) -> Tone:
        return tone(self.uptime)

    @property
    def uptime_word(self) -> str:
        return word(self.uptime)


async def view(context: Context, model: Model, at: int) -> tuple[Row, ...]:
    """In the catalog's order."""
    return tuple(row(model, endpoint, context.gateway.health) for endpoint in model.endpoints)


def row(model: Model, endpoint: Endpoint, health: Health) -> Row:
    """One endpoint."""
    name = endpoint_id(model, endpoint)
    latency = health.percentiles(name, "latency", _DAY)
    throughput = health.percentiles(name, "throughput", _DAY)
    state: tuple[str, Tone] = ("Switched off", "") if endpoint.disabled else _state(health, name)
    return Row(
        endpoint,
        None if latency is None else latency.p50 * 1000,
        None if throughput is None else throughput.p50,
        health.uptime(name, _DAY),
        *state,
    )


def tone(percent: float | None) -> Tone:
    """The colour of an uptime."""
    if percent is None:
        return ""
    return "good" if percent >= GOOD else "warn" if percent >= FAIR else "bad"


def word(percent: float | None) -> str:
    """The same for who sees no colours."""
    return {"": "no data", "good": "good", "warn": "fair", "bad": "poor"}[tone(percent)]


def _state(health: Health, endpoint: str) -> tuple[str, Tone]:
    facts = health.facts(endpoint)
    if facts.closed:
        return ("Rate-limited", "warn") if facts.reason == "rate_limited" else ("Paused", "bad")
    match facts.tier:
        case "down":
            return "Down", "bad"
        case "degraded":
            return "Degraded", "warn"
        case _:
            return "Up", "good"
