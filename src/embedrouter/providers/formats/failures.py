"""What a provider's answer without vectors means: its status and its own words, brought to our taxonomy."""

import math
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import orjson

from embedrouter.providers.formats.words import is_page, shown
from embedrouter.providers.wire import Failure, UpstreamError

_READ: Final = 1_048_576  # bytes of an error's body; a longer one tells nothing
_DEEPEST: Final = 4
_LONGEST_WAIT: Final = 86_400.0  # seconds
_SECONDS: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s?", re.ASCII)

_BY_STATUS: Final[Mapping[int, Failure]] = {
    400: "invalid_request",
    401: "unauthorized",
    402: "payment",
    403: "unauthorized",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    410: "not_found",
    413: "too_long",
    422: "invalid_request",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
_BY_CODE: Final[Mapping[str, Failure]] = {  # in the vocabulary of OpenAI, which most others took over
    "insufficient_quota": "payment",
    "billing_hard_limit_reached": "payment",
    "billing_not_active": "payment",
    "payment_required": "payment",
    "context_length_exceeded": "too_long",
    "exceed_context_size_error": "too_long",
    "string_above_max_length": "too_long",
    "rate_limit_exceeded": "rate_limited",
    "invalid_api_key": "unauthorized",
    "model_not_found": "not_found",
    "invalid_model": "not_found",
    "provider_overloaded": "overloaded",
    "overloaded_error": "overloaded",
}
_TOO_LONG: Final = (
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "too many input tokens",
    "too many tokens",
    "maximum number of tokens",
    "is too large to process",
    "is too long",
)
_NO_MODEL: Final = ("is not a valid model", "no such model", "unknown model", "invalid model", "supported models are")
_WORDS: Final = ("message", "Message", "msg", "detail", "error", "errors", "error_description", "title")
_CODES: Final = ("code", "type", "status", "error_type", "reason")


class Complaint(NamedTuple):
    """What an error's body says."""

    message: str = ""  # as it came: not yet fit to be shown
    codes: tuple[str, ...] = ()  # lower-case
    status: int | None = None  # that the body names
    retry_after: float | None = None  # seconds
    is_page: bool = False  # HTML


def failure_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    credential: str | None,
    codes: Mapping[str, Failure] | None = None,
) -> UpstreamError:
    """What an error means. codes: the format's own, lower-case; they go before the status."""
    if 300 <= status < 400:
        said = f"answered with a redirect (HTTP {status}), which is not followed; set base_url to where it leads"
        return UpstreamError("invalid_answer", said, status=status)
    complaint = complaint_of(headers, body)
    effective = complaint.status or 500 if status < 300 else status
    failure = _judged(effective, complaint, {**_BY_CODE, **(codes or {})})
    message = shown(complaint.message, credential)
    if not message:
        message = f"answered HTTP {status} without a reason" if status >= 300 else "answered with an error, no reason"
    wait = retry_after(headers)
    return UpstreamError(failure, message, status=status, retry_after=complaint.retry_after if wait is None else wait)


def is_error(body: bytes) -> bool:
    """Whether an answer of HTTP 200 tells of an error."""
    answer = _decoded(body)
    if not isinstance(answer, dict):
        return False
    return bool(
        answer.get("error")
        or answer.get("errors")
        or answer.get("success") is False
        or answer.get("object") == "error"
        or isinstance(answer.get("message"), str)
        or answer.get("detail")
    )


def complaint_of(headers: Mapping[str, str], body: bytes) -> Complaint:
    """Read an error's body, whatever its shape."""
    answer = _decoded(body)
    # Amazon names the error in a header, with a URL after a colon.
    named = tuple(name.lower() for name in (headers.get("x-amzn-errortype", "").partition(":")[0],) if name)
    if answer is None:
        html, message = _plain(headers, body)
        return Complaint(message, named, is_page=html)
    codes = list(_codes(answer, 0))
    numbers = [int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3]
    return Complaint(
        message=_message(answer, 0),
        codes=named + tuple(code.lower() for code in codes),
        status=next((number for number in numbers if 400 <= number < 600), None),
        retry_after=next(_waits(answer), None),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the headers say. A date is read by the provider's own clock; without it, not at all."""
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return min(exact / 1000, _LONGEST_WAIT)
    given = headers.get("retry-after", "").strip()
    seconds = _seconds(given)
    if seconds is not None or not given:
        return seconds
    try:
        wait = (parsedate_to_datetime(given) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), _LONGEST_WAIT)


def _judged(status: int, complaint: Complaint, codes: Mapping[str, Failure]) -> Failure:
    for code in complaint.codes:
        if code in codes:
            return codes[code]
    words = complaint.message[:4_096].lower()
    if status in (400, 413, 422, 500) and any(phrase in words for phrase in _TOO_LONG):
        return "too_long"
    if status == 413 and "batch size" in words:  # of text-embeddings-inference
        return "invalid_request"
    if status in (400, 422):
        if complaint.is_page:  # of something in between: the provider did not judge the request
            return "invalid_answer"
        if any(phrase in words for phrase in _NO_MODEL):
            return "not_found"
    return _BY_STATUS.get(status, "server")


def _decoded(body: bytes) -> Any:
    if len(body) > _READ:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _plain(headers: Mapping[str, str], body: bytes) -> tuple[bool, str]:
    """Whether a body that is no JSON is a page; its words, if it has some."""
    text = body[:_READ].decode("utf-8", "replace").strip()
    if "html" in headers.get("content-type", "").lower() or text.startswith("<") or is_page(text[:4_096]):
        return True, ""
    if text[:1] in ("{", "[") or "\ufffd" in text or "\0" in text:  # broken JSON, or no text at all
        return False, ""
    return False, text


def _message(node: Any, depth: int) -> str:
    """The first words for people."""
    if isinstance(node, str):
        return node
    parts: list[Any] = []
    if isinstance(node, list):
        parts = node[:4]
    elif isinstance(node, dict):
        parts = [node.get(name) for name in (("error", "errors", *_WORDS) if depth == 0 else _WORDS)]
    words = (
        next((found for found in (_message(part, depth + 1) for part in parts) if found), "")
        if depth < _DEEPEST
        else ""
    )
    place = node.get("loc") if words and isinstance(node, dict) else None  # of FastAPI: what the complaint is about
    return f"{place[-1]}: {words}" if isinstance(place, list) and place and isinstance(place[-1], str) else words


def _codes(node: Any, depth: int) -> Iterator[str]:
    """All codes, the inner ones first: they are the more exact."""
    if depth > _DEEPEST:
        return
    if isinstance(node, list):
        for item in node[:8]:
            yield from _codes(item, depth + 1)
    if not isinstance(node, dict):
        return
    for name in ("error", "errors", "metadata", "details", "innererror", "message"):
        yield from _codes(node.get(name), depth + 1)
    for name in _CODES:
        code = node.get(name)
        if isinstance(code, str | int) and not isinstance(code, bool):
            yield str(code)[:64]


def _waits(answer: Any) -> Iterator[float]:
    """Google's RetryInfo."""
    error = answer.get("error") if isinstance(answer, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details[:8] if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        seconds = _seconds(delay) if isinstance(delay, str) else None
        if seconds is not None:
            yield seconds


def _seconds(text: str) -> float | None:
    match = _SECONDS.fullmatch(text.strip())
    if match is None:
        return None
    seconds = float(match[1])
    return min(seconds, _LONGEST_WAIT) if math.isfinite(seconds) else None
