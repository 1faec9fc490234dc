"""A line as the gateway takes it, and what becomes of one that fails. Pure."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import orjson

from embedrouter.accounts.caller import Caller
from embedrouter.batches.job import Job
from embedrouter.errors import EmbedRouterError
from embedrouter.work import EmbedRequest

EncodingFormat = Literal["float", "base64"]

_WAITING: Final = (429, 503)  # until there is room, or the job's time is over
_FAILING: Final = (502, 504)  # providers, or this line with them
_TRIES: Final = 5  # of a line while others succeed
_OUTAGE: Final = 300.0  # seconds for which a line is tried while none succeeds
_FIRST_WAIT: Final = 0.25  # seconds, doubled with every try ...
_LONGEST_WAIT: Final = 30.0  # ... up to this


class LineCall(NamedTuple):
    """What a line asks."""

    request: EmbedRequest
    encoding_format: EncodingFormat
    external_user: str | None = None
    session_id: str | None = None


class Failing(NamedTuple):
    """How a line has failed so far."""

    tries: int
    seconds: float  # since it failed first
    others_succeed: bool  # whether a line of its job was done since its try before


Reader = Callable[[Job, bytes, Caller], LineCall]
"""Reads a line's body, in any thread. Raises EmbedRouterError for a wrong one."""


def wait_before_again(error: EmbedRouterError, failing: Failing) -> float | None:
    """Seconds until a line that failed is tried again; None: it has failed."""
    out_of_patience = failing.others_succeed or failing.seconds >= _OUTAGE
    if error.status in _FAILING and failing.tries >= _TRIES and out_of_patience:
        return None
    if error.status not in (*_WAITING, *_FAILING):
        return None
    if error.status == 429 and error.retry_after is None:  # more tokens than its key's rate ever lets pass
        return None
    growing = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failing.tries - 1, 10))
    return max(growing, min(_LONGEST_WAIT, float(error.retry_after or 0)))


def error_json(error: EmbedRouterError) -> str:
    """As the body of an answer has it under `error`."""
    inside = type(error) is EmbedRouterError  # nobody foresaw it
    told = {
        "code": error.status,
        "message": "Internal Server Error" if inside else error.message,
        "metadata": {"error_type": error.error_type, **({} if inside else error.metadata)},
    }
    return orjson.dumps(told, default=str).decode()


def reason_json(code: str, message: str) -> str:
    """Of lines that were never asked."""
    return orjson.dumps({"code": code, "message": message}).decode()
