"""GET /health, /ready and /metrics: for load balancers, supervisors and Prometheus. Public, and free of secrets."""

import asyncio
import time
from typing import Any, Final

from litestar import Response, get, head

from embedrouter.api.auth import PUBLIC
from embedrouter.api.context import Context
from embedrouter.errors import EmbedRouterError
from embedrouter.minilm import MiniLM
from embedrouter.minilm.pipeline import Pipeline
from embedrouter.telemetry.metrics import CONTENT_TYPE

_RECENT: Final = 10.0  # seconds within which the model's last answer counts as recent
_PROBE: Final = 5.0  # seconds the model gets to answer a probe


@get("/health", summary="Is the process up?", tags=["Health"], operation_id="health", opt=PUBLIC)
async def health() -> dict[str, str]:
    """Answers while the process lives. For whether it can serve, ask /ready."""
    return {"status": "ok"}


@get("/ready", summary="Can the model answer?", tags=["Health"], operation_id="ready", opt=PUBLIC)
async def ready(context: Context) -> Response[dict[str, Any]]:
    """200 if the model answered in the last 10 s or answers a probe now, else 503 with the reason."""
    problem = "draining" if context.draining else await _problem(context.model)
    model = context.model
    if model is None:
        return Response({"status": problem or "ready", "engine": None}, status_code=503 if problem else 200)
    batcher = model.pipeline.batcher
    body = {
        "status": problem or "ready",
        "engine": model.engine.name,
        "precision": model.engine.precision,
        "reason": model.engine.reason,
        "workers": {"live": batcher.live_workers, "wanted": model.engine.workers, "restarts": batcher.restarts},
        "queued_tokens": batcher.queued_tokens,
    }
    return Response(body, status_code=503 if problem else 200)


@head("/health", include_in_schema=False, opt=PUBLIC)
async def health_head() -> None:
    """For load balancers that ask with HEAD."""


@head("/ready", include_in_schema=False, opt=PUBLIC)
async def ready_head(context: Context) -> Response[None]:
    """For load balancers that ask with HEAD: the same status as GET."""
    problem = "draining" if context.draining else await _problem(context.model)
    return Response(None, status_code=503 if problem else 200)


@get(
    "/metrics",
    summary="Prometheus metrics",
    tags=["Health"],
    operation_id="metrics",
    media_type="text/plain",
    opt=PUBLIC,
)
async def metrics(context: Context) -> Response[bytes]:
    """All series exist from the start."""
    return Response(context.metrics.render(), media_type=CONTENT_TYPE)


async def _problem(model: MiniLM | None) -> str | None:
    """None if the model answered recently or does now, or is not wanted; else what is wrong."""
    return None if model is None else await _probe(model.pipeline)


async def _probe(pipeline: Pipeline) -> str | None:
    if not pipeline.alive:
        return "the tokenizer thread is dead"
    if pipeline.batcher.live_workers == 0:
        return "no model worker is alive"
    if time.monotonic() - pipeline.batcher.last_success < _RECENT:
        return None
    try:
        async with asyncio.timeout(_PROBE):
            await asyncio.wrap_future(pipeline.submit(["ready?"]))
    except TimeoutError:
        return f"the model did not answer within {_PROBE:g} s"
    except EmbedRouterError as error:
        return error.message
    return None
