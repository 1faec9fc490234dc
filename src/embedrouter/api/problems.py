"""Errors as OpenRouter's envelope, for every way a request can fail."""

import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson
from litestar import Request, Response
from litestar.exceptions import HTTPException

from embedrouter.api.exchange import Answer, ClientGone
from embedrouter.errors import EmbedRouterError, InvalidRequestError

log = logging.getLogger(__name__)

_GENERIC: Final = "Internal Server Error"
_TYPES: Final = {
    400: "invalid_request",
    401: "authentication",
    403: "permission_denied",
    404: "not_found",
    405: "invalid_request",
    413: "payload_too_large",
}


def envelope(error: EmbedRouterError) -> dict[str, Any]:
    """`{"error": {"code", "message", "metadata": {"error_type", ...}, "availability"?}}`."""
    body: dict[str, Any] = {
        "code": error.status,
        "message": error.message if error.status != 500 else _GENERIC,
        "metadata": {"error_type": error.error_type, **(error.metadata if error.status != 500 else {})},
    }
    if error.availability is not None:
        body["availability"] = error.availability
    return {"error": body}


def answer_of(
    error: EmbedRouterError, headers: Mapping[str, str] | None = None, beside: Mapping[str, Any] | None = None
) -> Answer:
    """The whole answer of an error we raised ourselves. beside: what its body has beside `error`."""
    sent = dict(headers or {})
    if error.retry_after is not None:
        sent["Retry-After"] = str(error.retry_after)
    sent.update(error.headers)
    if error.status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    return Answer(error.status, orjson.dumps({**envelope(error), **(beside or {})}), sent)


def problem(error: EmbedRouterError) -> Response[bytes]:
    """The same for routes that answer through Litestar."""
    answer = answer_of(error)
    return Response(answer.body, status_code=answer.status, media_type="application/json", headers=dict(answer.headers))


def unforeseen(error: Exception) -> EmbedRouterError:
    """What a bug becomes: logged in full, told in general."""
    log.error("unforeseen error", exc_info=error)
    return EmbedRouterError(_GENERIC)


def on_known(_: Request[Any, Any, Any], error: EmbedRouterError) -> Response[bytes]:
    """Litestar's handler for our own errors."""
    return problem(error)


def on_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's handler for its own errors: unknown paths, wrong methods, bad query parameters."""
    status = error.status_code
    if status >= 500:
        return problem(unforeseen(error))
    message = {404: "no such path; see /docs", 405: "this path does not take this method; see /docs"}.get(status)
    body = {
        "error": {
            "code": status,
            "message": message or _told(error),
            "metadata": {"error_type": _TYPES.get(status, "invalid_request")},
        }
    }
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return Response(orjson.dumps(body), status_code=status, media_type="application/json", headers=headers)


def on_gone(_: Request[Any, Any, Any], __: ClientGone) -> Response[bytes]:
    """Litestar's handler for a client that left: mostly nobody reads this."""
    return problem(InvalidRequestError("the request ended before its body was complete"))


def on_any(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for what nobody foresaw."""
    return problem(unforeseen(error))


def _told(error: HTTPException) -> str:
    details = error.extra if isinstance(error.extra, list) else []
    told = [f"{d.get('key')}: {d.get('message')}" for d in details if isinstance(d, dict)]
    return "; ".join(told) or error.detail
