"""What the tests of routing share: plans from plain dicts, with facts by tag and a draw that is told."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.routing.facts import Facts, Percentiles
from embedrouter.routing.plan import Plan, plan
from embedrouter.routing.preferences import ProviderPreferences


def planned(
    model: Model,
    preferences: Mapping[str, Any] | None = None,
    facts: Mapping[str, Facts] | None = None,
    draw: float | Callable[[], float] = 0.0,
    **more: Any,
) -> Plan:
    """facts: by tag; who is not in it has not been measured. draw: 0 draws the cheapest."""

    def known(endpoint: Endpoint) -> Facts:
        return (facts or {}).get(endpoint.tag, Facts())

    return plan(
        model,
        msgspec.convert(preferences or {}, ProviderPreferences),
        facts=known,
        draw=draw if callable(draw) else lambda: draw,
        **more,
    )


def tags(found: Plan) -> list[str]:
    return [endpoint.tag for endpoint in found.endpoints]


def no_draw() -> float:
    raise AssertionError("nothing is to be drawn here")


def rising(p50: float) -> Percentiles:
    """As latencies are: the worse, the rarer."""
    return Percentiles(p50, p50 * 2, p50 * 3, p50 * 4)


def falling(p50: float) -> Percentiles:
    """As throughputs are: what more requests achieve is less."""
    return Percentiles(p50, p50 / 2, p50 / 3, p50 / 4)
