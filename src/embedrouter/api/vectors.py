"""Requests whose answer is made of vectors: asked of the gateway as one generation, or given again from the cache."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol

from embedrouter.accounts.caller import Caller
from embedrouter.api.answers import again_json
from embedrouter.api.cache_ticket import ticket_of
from embedrouter.api.exchange import Answer, Departure
from embedrouter.api.timing import Timing
from embedrouter.api.visit import Route, Visit, origin_of, receive
from embedrouter.errors import ContextLengthExceededError, EmbedRouterError, InvalidRequestError
from embedrouter.requests.schemas import R
from embedrouter.response_cache import Encoded, Hit, Ticket
from embedrouter.work import EmbedRequest, EmbedResult, Origin, Source


class Place(NamedTuple):
    """Where a text stands in a request: `documents`, (3,)."""

    field: str
    indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.field + "".join(f"[{index}]" for index in self.indices)


class Question(NamedTuple):
    """What a request asks of the gateway, and what its answer is made of."""

    request: EmbedRequest
    encode: Callable[[EmbedResult, str, str | None], Encoded]  # of the result, the generation's id, `Asked.metadata`
    large: bool  # encoded in a thread
    places: Sequence[Place] | None = None  # of the inputs, where errors cannot call them input[0], input[1], ...


class Form(Protocol, Generic[R]):
    """A route's own part."""

    @property
    def api_type(self) -> str:
        """Its name."""

    def decode(self, body: bytes) -> R:
        """Raises InvalidRequestError naming the field."""

    async def question(self, visit: Visit, wanted: R) -> Question:
        """Raises InvalidRequestError."""


def route_of(form: Form[R]) -> Route:
    """The route of a form."""

    async def serve(visit: Visit, caller: Caller) -> Answer:
        context = visit.context
        wanted, body, wish = await receive(visit, caller, form.decode)
        ticket = None
        if context.responses is not None:
            ticket = await ticket_of(visit.exchange, caller.key.id, body, wish, caller.constraints, form.api_type)
        origin = await origin_of(visit, wanted, caller)
        hit = None if ticket is None else _kept(visit, wanted.model, ticket)
        if hit is not None:
            prompt = (await form.question(visit, wanted)).request.prompt if context.settings.store_prompts else None
            return await _again(visit, hit, origin, prompt)
        at = time.perf_counter()
        question = await form.question(visit, wanted)
        result, encoded = await _asked(visit, question, origin)
        visit.tokens = result.prompt_tokens
        visit.headers["Server-Timing"] = _timed(visit, at, result)
        return _answered(visit, question, result, encoded, ticket)

    return Route(form.api_type, serve)


async def _asked(visit: Visit, question: Question, origin: Origin) -> tuple[EmbedResult, Encoded]:
    context, request = visit.context, question.request
    metadata = (visit.exchange.header(b"x-openrouter-metadata") or "").strip().lower() in {"enabled", "true", "1"}
    requested = visit.trail.requested = request.model if metadata else None

    async def present(result: EmbedResult) -> Encoded:
        started = time.perf_counter()
        if question.large:
            encoded = await asyncio.to_thread(question.encode, result, origin.generation_id, requested)
        else:
            encoded = question.encode(result, origin.generation_id, requested)
        context.metrics.stages["encode"].observe(time.perf_counter() - started)
        return encoded

    with Departure(visit.exchange.receive):
        try:
            return await context.gateway.embed(request, origin, present, visit.trail)
        except (InvalidRequestError, ContextLengthExceededError) as error:
            raise _placed(error, question.places) from error


def _placed(error: EmbedRouterError, places: Sequence[Place] | None) -> EmbedRouterError:
    """An error about an input, told of the text as the client knows it."""
    index: Any = error.metadata.get("index")
    if places is None or not isinstance(index, int) or not 0 <= index < len(places):
        return error
    place = places[index]
    message = error.message.replace(f"input[{index}]", str(place))
    metadata = {name: value for name, value in error.metadata.items() if name != "index"}
    return type(error)(message, metadata={**metadata, **metadata_of(place)})


def metadata_of(place: Place) -> dict[str, Any]:
    """What an error says of it: `index` is a number where it is one of a list, a list where it is deeper."""
    match place.indices:
        case ():
            return {"field": place.field}
        case (index,):
            return {"field": place.field, "index": index}
        case indices:
            return {"field": place.field, "index": list(indices)}


def _kept(visit: Visit, name: str, ticket: Ticket) -> Hit | None:
    """Raises NotFoundError for a model that is not served any more."""
    context = visit.context
    model, _ = context.gateway.model(name)
    return None if context.responses is None else context.responses.find(ticket, model)


async def _again(visit: Visit, hit: Hit, origin: Origin, prompt: str | None) -> Answer:
    """An answer from the cache, once it is in the ledger."""
    source = hit.kept.source

    async def present() -> bytes:
        return again_json(hit.kept.encoded, source, origin.generation_id)

    body = await visit.context.gateway.repeat(source, origin, present, prompt)
    return Answer(200, body, {"X-Generation-Id": origin.generation_id, **hit.headers})


def _timed(visit: Visit, received: float, result: EmbedResult) -> str:
    settled = time.perf_counter() - result.asked_at - result.provider_seconds
    timing = Timing(received - visit.started, result.asked_at - received, result.provider_seconds, settled)
    for part, seconds in zip(visit.context.metrics.parts, timing, strict=True):
        part.observe(seconds)
    return timing.header()


def _answered(visit: Visit, question: Question, result: EmbedResult, encoded: Encoded, ticket: Ticket | None) -> Answer:
    context, headers = visit.context, visit.headers
    context.metrics.stages["tokenize"].observe(result.tokenize_seconds)
    context.metrics.embedded(len(result.vectors), result.prompt_tokens, result.truncated, result.windows)
    made = {"X-Embedding-Fingerprint": result.fingerprint}
    if result.truncated:
        made["X-Embedding-Truncated"] = str(result.truncated)
    headers |= made
    if ticket is not None and context.responses is not None:
        source = Source(visit.id, result.model, result.endpoint, len(result.vectors), question.request.api_type)
        headers["X-OpenRouter-Cache-Status"] = "MISS"
        if context.responses.keep(ticket, encoded, source, made):
            headers["X-OpenRouter-Cache-TTL"] = str(ticket.ttl)
    return Answer(200, encoded.body, headers)
