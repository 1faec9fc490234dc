"""/dashboard/system: how this process and the database are; the doctor on demand."""

import asyncio
import platform
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post

from embedrouter import __version__
from embedrouter.accounts.sessions import SignedIn
from embedrouter.context import Context
from embedrouter.entrance import ADMIN
from embedrouter.errors import EmbedRouterError
from embedrouter.ledger import system
from embedrouter.ledger.book import now
from embedrouter.managing.readiness import problem
from embedrouter.minilm import cpu
from embedrouter.store.backup import newest
from embedrouter.store.health import Rows
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import see_other

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/dashboard/system"
_PATIENCE: Final = 8.0  # seconds that a page waits for the doctor
_SHOWN: Final = 100  # findings


class Fact(NamedTuple):
    """Of a list."""

    name: str
    value: str


class CacheRow(NamedTuple):
    """A cache of this process."""

    name: str
    entries: int
    size_bytes: int
    hits: int
    misses: int


class Found(NamedTuple):
    """What the database tells."""

    system: system.System
    rows: tuple[Rows, ...]  # none where they were not asked for: SQLite counts them all


@get(HOME, opt=ADMIN)
async def system_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await _shown(request, context, signed_in)


@post("/dashboard/system/doctor", opt=ADMIN)
async def examine(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Ask the doctor; what takes longer than the page waits is shown by the next one."""
    try:
        await context.examiner.examine(context.database, _PATIENCE)
    except EmbedRouterError as error:
        return await _shown(request, context, signed_in, error=error)
    return see_other(f"{HOME}#doctor")


async def _shown(
    request: AnyRequest, context: Context, me: SignedIn, *, error: EmbedRouterError | None = None
) -> Response[str]:
    at, counting = now(), request.query_params.get("rows") == "1"
    found = await context.database.read(
        lambda connection: Found(
            system.system(connection, context.database, at), system.table_rows(connection) if counting else ()
        )
    )
    model = {
        "title": "System",
        "problem": await problem(context),
        "found": found,
        "at": at,
        "writer": system.writer_state(context.writer),
        "machine": _machine(context),
        "queued": None if context.model is None else context.model.pipeline.batcher.queued_tokens,
        "most_queued": context.settings.max_queued_tokens,
        "caches": _caches(context),
        "copy": await asyncio.to_thread(newest, context.settings.data_dir / "backups"),
        "last": context.examiner.last,
        "busy": context.examiner.busy,
        "shown": _SHOWN,
        "durability": context.settings.durability,
    }
    return dashboard_page(request, me, "dashboard/system.html", model, error=error)


def _machine(context: Context) -> list[Fact]:
    facts = [Fact("Version", __version__), Fact("Python", platform.python_version())]
    if context.model is None:
        facts.append(Fact("Engine", "none: the built-in model is switched off"))
    else:
        engine, batcher = context.model.engine, context.model.pipeline.batcher
        facts += [
            Fact("Engine", f"{engine.name}, {engine.precision}"),
            Fact("Why this one", engine.reason),
            Fact("Workers", f"{batcher.live_workers} of {engine.workers} live, {batcher.restarts} restarted"),
        ]
    return [*facts, Fact("CPU", cpu.name()), Fact("Cores", str(cpu.available_cores())), Fact("Host", platform.node())]


def _caches(context: Context) -> list[CacheRow]:
    """As the metrics know them, which exist also for a cache that is off."""

    def value(name: str) -> int:
        return int(context.metrics.registry.get_sample_value(f"embedrouter_{name}") or 0)

    return [
        CacheRow(
            name,
            value(f"{name}_cache_entries"),
            value(f"{name}_cache_bytes"),
            value(f"{name}_cache_hits_total"),
            value(f"{name}_cache_misses_total"),
        )
        for name in ("response", "vector")
    ]
