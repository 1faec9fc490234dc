"""POST /embeddings."""

import asyncio
import logging
import time
from typing import Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State

from embedrouter.api.answers import SMALL, embeddings_json
from embedrouter.api.auth import authenticate
from embedrouter.api.body import ClientGone, decode, read_body
from embedrouter.api.context import Context
from embedrouter.api.inputs import normalise
from embedrouter.api.problems import problem, unforeseen
from embedrouter.api.schemas import EmbeddingsRequest
from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.gateway import EmbedRequest, EmbedResult, new_generation_id
from embedrouter.minilm.windows import LongInput
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.telemetry.logs import event

log = logging.getLogger("embedrouter.access")

_DECODER: Final = msgspec.json.Decoder(EmbeddingsRequest)
_RULES: Final = {"end": LongInput.TRUNCATE, "none": LongInput.REFUSE}
_PATIENCE: Final = 0.25  # seconds before a request is worth watching for its client's departure
_NO_PREFERENCES: Final = ProviderPreferences()

JsonRequest = Request[Any, Any, State]


@post(
    "/embeddings",
    status_code=200,
    summary="Embed texts",
    tags=["Embeddings"],
    operation_id="createEmbeddings",
)
async def create_embeddings(request: JsonRequest, context: Context) -> Response[bytes]:
    """Vectors for one to 2,048 inputs, as floats or base64, in input order."""
    started = time.perf_counter()
    metrics = context.metrics
    generation_id = new_generation_id()
    headers = {"X-Generation-Id": generation_id}
    result: EmbedResult | None = None
    status = 200
    metrics.in_flight += 1
    try:
        wanted = await _received(request, context)
        result = await _served(request, context, wanted)
        response = await _answered(context, wanted, result, headers)
        reason = None
    except ClientGone:
        # Mostly nobody reads this; a client that broke its own chunked encoding does.
        reason, status = "client_closed", 499
        response = problem(InvalidRequestError("the request ended before its body was complete"), headers)
    except EmbedRouterError as error:
        reason, status = error.error_type, error.status
        response = problem(error, headers)
    except Exception as error:
        reason, status = "server", 500
        response = problem(unforeseen(error), headers)
    finally:
        metrics.in_flight -= 1
    seconds = time.perf_counter() - started
    metrics.answered(status, seconds)
    if reason is not None:
        metrics.rejected(reason)
    if context.settings.access_log:
        tokens = result.prompt_tokens if result else 0
        event(
            log,
            "embeddings",
            id=generation_id,
            status=status,
            reason=reason,
            prompt_tokens=tokens,
            seconds=round(seconds, 6),
        )
    return response


async def _received(request: JsonRequest, context: Context) -> EmbeddingsRequest:
    authenticate(request, context.keys)
    context.refuse_if_draining()
    limit = context.settings.max_body_mib * 1_048_576
    body = await read_body(request, limit=limit, grace=context.settings.body_timeout_s)
    started = time.perf_counter()
    wanted = decode(body, _DECODER)
    context.metrics.stages["decode"].observe(time.perf_counter() - started)
    return wanted


async def _served(request: JsonRequest, context: Context, wanted: EmbeddingsRequest) -> EmbedResult:
    encoding = request.headers.get("x-token-encoding")
    if isinstance(wanted.input, str) or isinstance(wanted.input[0], str):
        inputs = normalise(wanted.input, encoding)
    else:  # token ids are decoded, which may take long
        inputs = await asyncio.to_thread(normalise, wanted.input, encoding)
    truncate = wanted.truncate
    rule = _RULES[truncate] if isinstance(truncate, str) else LongInput.of(truncate)
    call = EmbedRequest(
        model=wanted.model,
        inputs=inputs,
        rule=rule,
        dimensions=wanted.dimensions,
        preferences=wanted.provider or _NO_PREFERENCES,
        parameters=wanted.sent_parameters(),
    )
    work = asyncio.ensure_future(context.gateway.embed(call))
    try:
        await asyncio.wait((work,), timeout=_PATIENCE)
        if not work.done():
            await _done_or_gone(request, work)
        return await work
    finally:
        work.cancel()


async def _done_or_gone(request: JsonRequest, work: "asyncio.Future[EmbedResult]") -> None:
    """Wait for the work. Raises ClientGone if its client leaves before."""
    departure = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((work, departure), return_when=asyncio.FIRST_COMPLETED)
    finally:
        departure.cancel()
    if not work.done():
        raise ClientGone


async def _answered(
    context: Context, wanted: EmbeddingsRequest, result: EmbedResult, headers: dict[str, str]
) -> Response[bytes]:
    started = time.perf_counter()
    generation_id = headers["X-Generation-Id"]
    as_base64 = wanted.encoding_format == "base64"
    if len(result.vectors) <= SMALL:
        body = embeddings_json(result, generation_id, as_base64=as_base64)
    else:
        body = await asyncio.to_thread(embeddings_json, result, generation_id, as_base64=as_base64)
    context.metrics.stages["encode"].observe(time.perf_counter() - started)
    context.metrics.stages["tokenize"].observe(result.tokenize_seconds)
    context.metrics.embedded(len(result.vectors), result.prompt_tokens, result.truncated, result.windows)
    headers["X-Embedding-Fingerprint"] = result.fingerprint
    if result.truncated:
        headers["X-Embedding-Truncated"] = str(result.truncated)
    return Response(body, media_type="application/json", headers=headers)
