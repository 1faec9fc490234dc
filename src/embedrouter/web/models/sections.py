"""The tabs of a model's page. Each is an address of its own, and a section of the overview.

A new one: its line here, and its template.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.web import model_api
from embedrouter.web.models import activity, apps, performance, pricing, providers, uptime


class Section(NamedTuple):
    """A tab; its template finds what `view` gave as `view`."""

    key: str  # the end of its address
    title: str
    template: str
    view: Callable[[Context, Model, int], Awaitable[Any]]  # the last is now, in microseconds


SECTIONS: Final = (
    Section("providers", "Providers", "model/_providers.html", providers.view),
    Section("performance", "Performance", "model/_performance.html", performance.view),
    Section("pricing", "Pricing", "model/_pricing.html", pricing.view),
    Section("apps", "Apps", "model/_apps.html", apps.view),
    Section("activity", "Activity", "model/_activity.html", activity.view),
    Section("uptime", "Uptime", "model/_uptime.html", uptime.view),
    Section("api", "API", "model/_api.html", model_api.view),
)
