"""A request to a model in this room: who asks, what came, and the answer, right or wrong, counted and logged.

All routes that ask a model take these steps; a route adds only what is its own, as a `Serve`.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from embedrouter.accounts.caller import Caller
from embedrouter.api.answers import refused_json
from embedrouter.api.attribution import claim_of
from embedrouter.api.auth import INFERENCE_CHECKED_ITSELF, authenticate
from embedrouter.api.body import read_body
from embedrouter.api.cache_ticket import Wish
from embedrouter.api.exchange import Answer, ClientGone, Exchange
from embedrouter.api.preset_calls import resolve
from embedrouter.api.problems import answer_of, unforeseen
from embedrouter.context import Context
from embedrouter.errors import EmbedRouterError, InvalidRequestError, MethodNotAllowedError
from embedrouter.ledger.apps import AppClaim
from embedrouter.requests.schemas import EmbeddingsRequest, ModelRequest, R
from embedrouter.telemetry.logs import event
from embedrouter.work import Origin, Trail, new_generation_id

log = logging.getLogger("embedrouter.access")


class Visit:
    """One request, from its head to its answer."""

    __slots__ = ("context", "exchange", "headers", "id", "started", "tokens", "trail")

    def __init__(self, exchange: Exchange, context: Context) -> None:
        self.started = time.perf_counter()
        self.exchange = exchange
        self.context = context
        self.id = new_generation_id()
        self.headers: dict[str, str] = {}  # of the answer
        self.trail = Trail()
        self.tokens = 0  # billed


Admit: TypeAlias = Callable[[Exchange], Awaitable[Caller]]
"""Says who asks. Raises AuthenticationError."""
Serve: TypeAlias = Callable[[Visit, Caller], Awaitable[Answer]]
"""What a route does for a caller that may ask. Raises EmbedRouterError, ClientGone."""


class Route(NamedTuple):
    """A route that asks a model."""

    name: str  # its path, and what the log calls it
    serve: Serve
    leaves_generation: bool = True


def handler_of(route: Route, context: Context) -> ASGIRouteHandler:
    """The route as Litestar serves it: a plain ASGI application."""

    @asgi(f"/{route.name}", opt=INFERENCE_CHECKED_ITSELF)
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        if exchange.method != "POST":
            refused = answer_of(MethodNotAllowedError("this path takes POST; see /docs"), {"Allow": "POST"})
            await exchange.answer(refused)
            return
        context.metrics.in_flight += 1
        try:
            await exchange.answer(await answer_request(exchange, context, by_key, route))
        finally:
            context.metrics.in_flight -= 1

    async def by_key(exchange: Exchange) -> Caller:
        return authenticate(exchange.header(b"authorization"), context.gatekeeper)

    return handle


async def answer_request(exchange: Exchange, context: Context, admit: Admit, route: Route) -> Answer:
    """The answer to any request, right or wrong; counted and, if wanted, logged."""
    visit = Visit(exchange, context)
    headers = visit.headers
    if route.leaves_generation:
        headers["X-Generation-Id"] = visit.id
    reason: str | None = None
    caller: Caller | None = None
    try:
        caller = await admit(exchange)
        caller.require_inference()
        answer = await route.serve(visit, caller)
        status = answer.status
    except ClientGone:
        # Mostly nobody reads this; a client that broke its own chunked encoding does.
        reason, status = "client_closed", 499
        answer = answer_of(InvalidRequestError("the request ended before its body was complete"), headers)
    except EmbedRouterError as error:
        reason, status = error.error_type, error.status
        told = {} if caller is None else refused_json(visit.trail, error, caller.key.workspace_id)
        answer = answer_of(error, headers, told)
    except Exception as error:
        reason, status = "server", 500
        answer = answer_of(unforeseen(error), headers)
    seconds = time.perf_counter() - visit.started
    context.metrics.answered(status, seconds)
    if reason is not None:
        context.metrics.rejected(reason)
    if context.settings.access_log:
        event(
            log,
            route.name,
            id=visit.id,
            status=status,
            reason=reason,
            prompt_tokens=visit.tokens,
            seconds=round(seconds, 6),
        )
    return answer


async def receive(visit: Visit, caller: Caller, decode: Callable[[bytes], R]) -> tuple[R, bytes, Wish]:
    """The request with its preset's settings, its body, and what the preset wishes of the response cache.

    Raises EmbedRouterError, ClientGone.
    """
    context = visit.context
    context.refuse_if_draining()
    limit = context.settings.max_body_mib * 1_048_576
    body = await read_body(visit.exchange, limit=limit, grace=context.settings.body_timeout_s)
    started = time.perf_counter()
    wanted = decode(body)
    context.metrics.stages["decode"].observe(time.perf_counter() - started)
    wanted, wish = resolve(wanted, context.presets, caller.key.workspace_id)
    return wanted, body, wish


async def origin_of(visit: Visit, wanted: EmbeddingsRequest | ModelRequest, caller: Caller) -> Origin:
    """What a generation remembers of where it comes from."""
    header = visit.exchange.header
    claim = claim_of(header)
    if claim is not None and not caller.public:
        claim = AppClaim(claim.url)  # what the rankings show is for those to say who are in them
    return Origin(
        generation_id=visit.id,
        caller=caller,
        started=visit.started,
        app_id=0 if claim is None else await _app_id(visit.context, claim),
        origin="" if claim is None else claim.url,
        http_referer=_short(header(b"http-referer") or header(b"referer"), 512),
        user_agent=_short(header(b"user-agent"), 256),
        external_user=_short(wanted.user, 256),
        session_id=_short(wanted.session_id, 256) or _short(header(b"x-session-id"), 256),
        request_id=_short(header(b"x-request-id"), 128),
        hops=header(b"x-embedrouter-hop"),
    )


async def _app_id(context: Context, claim: AppClaim) -> int:
    known = context.apps.known(claim)
    return known if known is not None else await context.apps.find(claim)


def _short(text: str | None, most: int) -> str | None:
    """What a client says about itself, bounded and printable."""
    if not text:
        return None
    return "".join(character for character in text[:most] if character.isprintable()) or None
