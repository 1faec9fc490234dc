"""/status: components, their uptime by day, incidents; /status.json: the same for programs. Neither waits for long."""

from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get

from embedrouter.context import Context
from embedrouter.entrance import PUBLIC
from embedrouter.ledger.book import now
from embedrouter.minilm import MiniLM
from embedrouter.periods import iso
from embedrouter.web.layout import HEADERS, page
from embedrouter.web.market.offers import offers
from embedrouter.web.status.board import Board, Findings, Look
from embedrouter.web.status.components import (
    MOST,
    Component,
    Reading,
    State,
    Story,
    database,
    overall,
    provider,
    span_of,
    stories,
    strip_of,
    worst,
)
from embedrouter.web.uptime import WORDS, Strip

AnyRequest = Request[Any, Any, Any]

_DAY: Final = 86_400.0  # seconds
_BUILT_IN: Final = 2  # its place, after the API and the database
_NOTHING: Final = Findings(0, (), ())


class Status(NamedTuple):
    """All that the page tells."""

    at: int  # microseconds
    seen_at: int | None  # when the database told its part; None: never
    state: State
    told: str
    components: list[Component]
    quiet: list[Component]  # providers that were never asked
    incidents: list[Story]
    is_old: bool  # the database does not answer now


@get("/status", opt=PUBLIC)
async def status_page(request: AnyRequest, context: Context, board: Board) -> Response[str]:
    """The page."""
    status = _status(context, await board.look(context))
    return page(request, "status/status.html", {"title": "Status", "status": status, "levels": WORDS, "most": MOST})


@get("/status.json", opt=PUBLIC)
async def status_document(context: Context, board: Board) -> Response[bytes]:
    """States are up, degraded, down, unknown, off; uptimes percent, None where nothing was asked."""
    status = _status(context, await board.look(context))
    body = {
        "status": status.state,
        "description": status.told,
        "checked_at": iso(status.at),
        "measured_at": None if status.seen_at is None else iso(status.seen_at),
        "components": [_component(one) for one in (*status.components, *status.quiet)],
        "incidents": [
            {
                "model": one.model_href[1:],
                "provider": one.provider,
                "kind": one.kind.lower().replace(" ", "_"),
                "started_at": iso(one.start),
                "ended_at": None if one.end is None else iso(one.end),
                "worst_minute_percent": round(one.worst, 1),
            }
            for one in status.incidents
        ],
    }
    return Response(msgspec.json.encode(body), media_type="application/json", headers=HEADERS)


def _component(one: Component) -> dict[str, Any]:
    strip = one.strip
    return {
        "id": one.id,
        "name": one.name,
        "status": one.state,
        "description": one.told,
        "uptime": None if strip is None else strip.total,
        "days": [] if strip is None else [{"day": bar.key, "uptime": bar.value} for bar in strip.bars],
    }


def _status(context: Context, look: Look) -> Status:
    at = now()
    findings = look.findings or _NOTHING
    catalog = context.catalog.loaded.catalog
    served = tuple(offers(catalog.models))
    span = span_of(findings.days, at)
    known = {(one.model.slug, one.endpoint.tag) for one in served}
    days = [one for one in findings.days if (one.model, one.endpoint) in known]
    parts = [
        Component(
            id="api",
            name="API",
            state="down" if context.draining else "up",
            told="Shuts down: nothing new is taken." if context.draining else "Takes requests.",
            strip=strip_of("the API", days, span),
        ),
        database(look.database, failing=context.writer.failing),
    ]
    if context.model is None:
        parts.append(_built_in(None, None))
    health = context.gateway.health
    quiet: list[Component] = []
    for one in catalog.providers:
        own = [each for each in served if each.endpoint.provider.slug == one.slug]
        readings = [Reading(each, health.facts(each.id), health.request_count(each.id, _DAY)) for each in own]
        tags = {(each.model.slug, each.endpoint.tag) for each in own}
        strip = strip_of(one.name, [day for day in days if (day.model, day.endpoint) in tags], span)
        if one.wire == "builtin":
            parts.insert(_BUILT_IN, _built_in(context.model, strip))
            continue
        made = provider(one.slug, one.name, readings, strip)
        (quiet if strip.is_empty and made.state == "unknown" else parts).append(made)
    return Status(
        at=at,
        seen_at=None if look.findings is None else look.findings.at,
        state=worst(parts),
        told=overall(parts),
        components=parts,
        quiet=quiet,
        incidents=stories(findings.incidents, served, at),
        is_old=look.database != "answers",
    )


def _built_in(model: MiniLM | None, strip: Strip | None) -> Component:
    state: State = "off"
    told = "The operator has switched it off."
    if model is not None:
        alive = model.pipeline.alive and model.pipeline.batcher.live_workers > 0
        state = "up" if alive else "down"
        told = (
            f"Computes on this machine ({model.engine.name}, {model.engine.precision})." if alive else "Is not alive."
        )
    return Component(id="built-in-model", name="Built-in model", state=state, told=told, strip=strip)
