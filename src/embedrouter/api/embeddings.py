"""POST /embeddings."""

import asyncio
import logging
import time
from typing import Final

import msgspec
import orjson
from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from embedrouter.accounts.caller import Caller
from embedrouter.api.answers import SMALL, Asked, Encoded, again_json, embeddings_json
from embedrouter.api.attribution import claim_of
from embedrouter.api.auth import INFERENCE_CHECKED_ITSELF, authenticate
from embedrouter.api.body import decode, read_body
from embedrouter.api.context import Context
from embedrouter.api.exchange import Answer, ClientGone, Departure, Exchange
from embedrouter.api.inputs import normalise
from embedrouter.api.preset_calls import resolve
from embedrouter.api.problems import answer_of, unforeseen
from embedrouter.api.response_cache import Hit, Ticket, ticket_of
from embedrouter.api.schemas import EmbeddingsRequest
from embedrouter.api.timing import Timing
from embedrouter.errors import EmbedRouterError, InvalidRequestError, MethodNotAllowedError
from embedrouter.ledger.apps import AppClaim
from embedrouter.minilm.windows import LongInput
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.telemetry.logs import event
from embedrouter.work import EmbedRequest, EmbedResult, Origin, Source, new_generation_id

log = logging.getLogger("embedrouter.access")

_DECODER: Final = msgspec.json.Decoder(EmbeddingsRequest)
_RULES: Final = {"end": LongInput.TRUNCATE, "none": LongInput.REFUSE}
_NO_PREFERENCES: Final = ProviderPreferences()


def embeddings_route(context: Context) -> ASGIRouteHandler:
    """Vectors for one to 2,048 inputs, as floats or base64, in input order."""

    @asgi("/embeddings", opt=INFERENCE_CHECKED_ITSELF)
    async def create_embeddings(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        if exchange.method != "POST":
            refused = answer_of(MethodNotAllowedError("this path takes POST; see /docs"), {"Allow": "POST"})
            await exchange.answer(refused)
            return
        context.metrics.in_flight += 1
        try:
            await exchange.answer(await _answer(exchange, context))
        finally:
            context.metrics.in_flight -= 1

    return create_embeddings


async def _answer(exchange: Exchange, context: Context) -> Answer:
    """The answer to any request, right or wrong; counted and, if wanted, logged."""
    started = time.perf_counter()
    headers = {"X-Generation-Id": new_generation_id()}
    tokens = 0
    reason: str | None = None
    try:
        caller = authenticate(exchange.header(b"authorization"), context.gatekeeper)
        caller.require_inference()
        wanted, ticket = await _received(exchange, context, caller)
        claim = claim_of(exchange.header)
        if claim is not None and not caller.public:
            claim = AppClaim(claim.url)  # what the rankings show is for those to say who are in them
        origin = _origin(exchange, wanted, caller, headers["X-Generation-Id"], started)
        if claim is not None:
            origin = origin._replace(app_id=await _app_id(context, claim), origin=claim.url)
        hit = None if ticket is None or context.responses is None else context.responses.find(ticket)
        if hit is not None:
            answer = await _again(exchange, context, wanted, hit, origin)
        else:
            received = time.perf_counter()
            result, encoded = await _served(exchange, context, wanted, origin)
            tokens = result.prompt_tokens
            headers["Server-Timing"] = _timed(context, started, received, result)
            answer = _answered(context, result, encoded, headers, ticket)
        status = answer.status
    except ClientGone:
        # Mostly nobody reads this; a client that broke its own chunked encoding does.
        reason, status = "client_closed", 499
        answer = answer_of(InvalidRequestError("the request ended before its body was complete"), headers)
    except EmbedRouterError as error:
        reason, status = error.error_type, error.status
        answer = answer_of(error, headers)
    except Exception as error:
        reason, status = "server", 500
        answer = answer_of(unforeseen(error), headers)
    seconds = time.perf_counter() - started
    context.metrics.answered(status, seconds)
    if reason is not None:
        context.metrics.rejected(reason)
    if context.settings.access_log:
        event(
            log,
            "embeddings",
            id=headers["X-Generation-Id"],
            status=status,
            reason=reason,
            prompt_tokens=tokens,
            seconds=round(seconds, 6),
        )
    return answer


async def _received(exchange: Exchange, context: Context, caller: Caller) -> tuple[EmbeddingsRequest, Ticket | None]:
    """The body with its preset's settings, and what is asked of the response cache."""
    context.refuse_if_draining()
    limit = context.settings.max_body_mib * 1_048_576
    body = await read_body(exchange, limit=limit, grace=context.settings.body_timeout_s)
    started = time.perf_counter()
    wanted = decode(body, _DECODER)
    context.metrics.stages["decode"].observe(time.perf_counter() - started)
    wanted, wish = resolve(wanted, context.presets, caller.key.workspace_id)
    if context.responses is None:
        return wanted, None
    return wanted, await ticket_of(exchange, caller.key.id, body, wish, caller.constraints)


def _origin(
    exchange: Exchange, wanted: EmbeddingsRequest, caller: Caller, generation_id: str, started: float
) -> Origin:
    return Origin(
        generation_id=generation_id,
        caller=caller,
        started=started,
        http_referer=_short(exchange.header(b"http-referer") or exchange.header(b"referer"), 512),
        user_agent=_short(exchange.header(b"user-agent"), 256),
        external_user=_short(wanted.user, 256),
        session_id=_short(wanted.session_id, 256) or _short(exchange.header(b"x-session-id"), 256),
        request_id=_short(exchange.header(b"x-request-id"), 128),
        hops=exchange.header(b"x-embedrouter-hop"),
    )


async def _app_id(context: Context, claim: AppClaim) -> int:
    known = context.apps.known(claim)
    return known if known is not None else await context.apps.find(claim)


def _short(text: str | None, most: int) -> str | None:
    """What a client says about itself, bounded and printable."""
    if not text:
        return None
    return "".join(character for character in text[:most] if character.isprintable()) or None


async def _served(
    exchange: Exchange, context: Context, wanted: EmbeddingsRequest, origin: Origin
) -> tuple[EmbedResult, Encoded]:
    call = await _call(exchange, context, wanted)
    metadata = (exchange.header(b"x-openrouter-metadata") or "").strip().lower() in {"enabled", "true", "1"}
    asked = Asked(wanted.encoding_format == "base64", wanted.model if metadata else None)

    async def present(result: EmbedResult) -> Encoded:
        started = time.perf_counter()
        if len(result.vectors) <= SMALL:
            encoded = embeddings_json(result, origin.generation_id, asked)
        else:
            encoded = await asyncio.to_thread(embeddings_json, result, origin.generation_id, asked)
        context.metrics.stages["encode"].observe(time.perf_counter() - started)
        return encoded

    with Departure(exchange.receive):
        return await context.gateway.embed(call, origin, present)


async def _call(exchange: Exchange, context: Context, wanted: EmbeddingsRequest) -> EmbedRequest:
    encoding = exchange.header(b"x-token-encoding")
    if isinstance(wanted.input, str) or isinstance(wanted.input[0], str):
        inputs = normalise(wanted.input, encoding)
    else:  # token ids are decoded, which may take long
        inputs = await asyncio.to_thread(normalise, wanted.input, encoding)
    truncate = wanted.truncate
    rule = _RULES[truncate] if isinstance(truncate, str) else LongInput.of(truncate)
    return EmbedRequest(
        model=wanted.model,
        inputs=inputs,
        rule=rule,
        dimensions=wanted.dimensions,
        preferences=wanted.provider or _NO_PREFERENCES,
        parameters=wanted.sent_parameters(),
        input_type=wanted.input_type,
        prompt=orjson.dumps(inputs).decode() if context.settings.store_prompts else None,
    )


async def _again(exchange: Exchange, context: Context, wanted: EmbeddingsRequest, hit: Hit, origin: Origin) -> Answer:
    """An answer from the cache, once it is in the ledger."""
    prompt = (await _call(exchange, context, wanted)).prompt if context.settings.store_prompts else None
    source = hit.kept.source

    async def present() -> bytes:
        return again_json(hit.kept.encoded, source, origin.generation_id)

    body = await context.gateway.repeat(source, origin, present, prompt)
    return Answer(200, body, {"X-Generation-Id": origin.generation_id, **hit.headers})


def _timed(context: Context, started: float, received: float, result: EmbedResult) -> str:
    settled = time.perf_counter() - result.asked_at - result.provider_seconds
    timing = Timing(received - started, result.asked_at - received, result.provider_seconds, settled)
    for part, seconds in zip(context.metrics.parts, timing, strict=True):
        part.observe(seconds)
    return timing.header()


def _answered(
    context: Context, result: EmbedResult, encoded: Encoded, headers: dict[str, str], ticket: Ticket | None
) -> Answer:
    context.metrics.stages["tokenize"].observe(result.tokenize_seconds)
    context.metrics.embedded(len(result.vectors), result.prompt_tokens, result.truncated, result.windows)
    made = {"X-Embedding-Fingerprint": result.fingerprint}
    if result.truncated:
        made["X-Embedding-Truncated"] = str(result.truncated)
    headers |= made
    if ticket is not None and context.responses is not None:
        source = Source(headers["X-Generation-Id"], result.model, result.endpoint, len(result.vectors))
        headers["X-OpenRouter-Cache-Status"] = "MISS"
        if context.responses.keep(ticket, encoded, source, made):
            headers["X-OpenRouter-Cache-TTL"] = str(ticket.ttl)
    return Answer(200, encoded.body, headers)
