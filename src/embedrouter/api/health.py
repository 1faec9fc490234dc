"""GET /health, /ready and /metrics: for load balancers, supervisors and Prometheus. Public, and free of secrets."""

from typing import Any

from litestar import Response, get, head

from embedrouter.api.auth import PUBLIC
from embedrouter.context import Context
from embedrouter.managing.readiness import problem
from embedrouter.telemetry.metrics import CONTENT_TYPE


@get("/health", summary="Is the process up?", tags=["Health"], operation_id="health", opt=PUBLIC)
async def health() -> dict[str, str]:
    """Answers while the process lives. For whether it can serve, ask /ready."""
    return {"status": "ok"}


@get("/ready", summary="Can the model answer?", tags=["Health"], operation_id="ready", opt=PUBLIC)
async def ready(context: Context) -> Response[dict[str, Any]]:
    """200 if the model answered in the last 10 s or answers a probe now, else 503 with the reason."""
    found = await problem(context)
    model = context.model
    if model is None:
        return Response({"status": found or "ready", "engine": None}, status_code=503 if found else 200)
    batcher = model.pipeline.batcher
    body = {
        "status": found or "ready",
        "engine": model.engine.name,
        "precision": model.engine.precision,
        "reason": model.engine.reason,
        "workers": {"live": batcher.live_workers, "wanted": model.engine.workers, "restarts": batcher.restarts},
        "queued_tokens": batcher.queued_tokens,
    }
    return Response(body, status_code=503 if found else 200)


@head("/health", include_in_schema=False, opt=PUBLIC)
async def health_head() -> None:
    """For load balancers that ask with HEAD."""


@head("/ready", include_in_schema=False, opt=PUBLIC)
async def ready_head(context: Context) -> Response[None]:
    """For load balancers that ask with HEAD: the same status as GET."""
    found = await problem(context)
    return Response(None, status_code=503 if found else 200)


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
