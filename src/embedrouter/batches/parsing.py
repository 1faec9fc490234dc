"""The body of POST /batches, taken apart as it arrives: bytes in, requests out, each with its body as it was sent.

Only what is outside of `requests` is kept, and the one request that is under way. What is JSON is decided by msgspec,
here is only found where a request begins and ends: brackets are counted outside of strings.
"""

import re
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from embedrouter.batches.lines import LONGEST_ID, check_id
from embedrouter.errors import InvalidRequestError, PayloadTooLargeError
from embedrouter.fields import decode

MOST_OUTSIDE: Final = 65_536  # bytes of the body without its requests
_MOST_METADATA: Final = 16

# Atomic groups instead of possessive quantifiers: those match too little before Python 3.11.5.
_TEXT: Final = rb'[^"\\]*(?:\\.[^"\\]*)*'
_INNER = rb'(?:(?>[^"\[\]{}]+)|"(?>' + _TEXT + rb')")'
# Everything up to a bracket, or to a string that does not end here.
_PLAIN: Final = re.compile(rb"(?>" + _INNER + rb"*)", re.DOTALL)
for _ in range(3):  # as deep as requests are: body, input, one input's token ids
    _INNER = rb"(?:" + _INNER + rb"|[\[{](?>" + _INNER + rb"*)[\]}])"
_WHOLE: Final = re.compile(rb"\{(?>" + _INNER + rb"*)\}", re.DOTALL)  # a request that ends here; others take longer
_IN_STRING: Final = re.compile(rb"(?>" + _TEXT + rb")", re.DOTALL)
_BEFORE_REQUESTS: Final = re.compile(rb'(?<!\\)"requests"[ \t\r\n]*:[ \t\r\n]*\Z')
_BETWEEN: Final = re.compile(rb"[ \t\r\n]*([,{\]]?)")

Key = Annotated[str, Meta(min_length=1, max_length=64)]
Value = Annotated[str, Meta(max_length=512)]


class BatchProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may serve a batch."""

    only: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    allow_fallbacks: bool | None = None


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /batches in both forms, without the requests."""

    endpoint: str | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    completion_window: str | None = None
    provider: BatchProvider | None = None
    callback_url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    metadata: Annotated[dict[Key, Value], Meta(max_length=_MOST_METADATA)] | None = None
    input_file_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    requests: Annotated[list[Any], Meta(max_length=0)] | None = None


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    body: msgspec.Raw


class Request(NamedTuple):
    """One of the requests. number: from 0."""

    number: int
    custom_id: str
    body: bytes  # JSON, as it was sent


_OUTSIDE: Final = msgspec.json.Decoder(Outside)
_REQUEST: Final = msgspec.json.Decoder(_Request)
_CUSTOM_ID: Final = re.compile(rb'"custom_id"\s*:\s*"([^"\\]{1,100})"')


class BodyParser:
    """Takes a body in pieces of any size. Memory: MOST_OUTSIDE, the largest request and one piece."""

    def __init__(self, most: int) -> None:
        """most: bytes of one request."""
        self._most = most
        self._outside = bytearray()
        self._place: Literal["before", "between", "request", "after"] = "before"
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the last byte was a backslash in a string
        self._parts: list[bytes] = []  # of the request under way
        self._size = 0
        self._comma = True  # a request may come: first, or after a comma
        self._count = 0
        self._head: Outside | None = None

    @property
    def head(self) -> Outside | None:
        """What came before `requests`; None: that has not begun."""
        return self._head

    def feed(self, data: bytes) -> list[Request]:
        """The requests that end in this piece. Raises InvalidRequestError naming the request, PayloadTooLargeError."""
        found: list[Request] = []
        at = 0
        while at < len(data):
            if self._place == "between":
                at = self._step_between(data, at, found)
            elif self._place == "request":
                at = self._step_request(data, at, found)
            else:
                at = self._step_outside(data, at)
        return found

    def finish(self) -> Outside:
        """All that is not in `requests`. Raises InvalidRequestError for a body that ends too early, or is no JSON."""
        if not self._outside:
            raise InvalidRequestError("the request has no body; send JSON")
        if self._place in ("between", "request"):
            raise InvalidRequestError(f"requests[{self._count}]: the body ends in the middle of it")
        return decode(bytes(self._outside), _OUTSIDE)

    def _step_outside(self, data: bytes, at: int) -> int:
        end = self._next_bracket(data, at)
        if self._place == "before" and self._depth == 1 and data[end : end + 1] == b"[":
            self._keep_outside(data[at:end])
            if _BEFORE_REQUESTS.search(self._outside, max(0, len(self._outside) - 256)):
                self._outside += b"["
                self._head = decode(bytes(self._outside) + b"]}", _OUTSIDE)
                self._place = "between"
                return end + 1
            at = end
        if end < len(data):
            self._depth += 1 if data[end] in b"[{" else -1
            end += 1
        self._keep_outside(data[at:end])
        return end

    def _step_between(self, data: bytes, at: int, requests: list[Request]) -> int:
        found = _BETWEEN.match(data, at)
        assert found is not None  # it matches nothing, too
        mark, end = found[1], found.end()
        if mark == b"{" and self._comma:
            self._comma = False
            whole = _WHOLE.match(data, end - 1)
            if whole is not None:
                requests.append(self._request(whole[0]))
                return whole.end()
            self._place, self._depth = "request", 0
            return end - 1
        if mark == b"," and not self._comma:
            self._comma = True
        elif mark == b"]" and (not self._comma or not self._count):
            self._place, self._depth = "after", 1
            self._outside += b"]"
        elif end < len(data) or mark:
            raise InvalidRequestError(
                f"requests[{self._count}]: expected an object with custom_id and body",
                metadata={"field": "requests", "index": self._count},
            )
        return end

    def _step_request(self, data: bytes, at: int, found: list[Request]) -> int:
        end = self._next_bracket(data, at)
        if end < len(data):
            self._depth += 1 if data[end] in b"[{" else -1
            end += 1
        self._size += end - at
        self._require_small(self._size)
        self._parts.append(data[at:end])
        if not self._depth:
            found.append(self._request(b"".join(self._parts)))
            self._parts, self._size = [], 0
        return end

    def _require_small(self, size: int) -> None:
        if size > self._most:
            raise PayloadTooLargeError(
                f"requests[{self._count}] is larger than {self._most / 1048576:g} MiB",
                metadata={"index": self._count, "limit_bytes": self._most},
            )

    def _request(self, whole: bytes) -> Request:
        self._require_small(len(whole))
        try:
            one = decode(whole, _REQUEST)
            check_id(one.custom_id)
        except InvalidRequestError as error:
            named = _CUSTOM_ID.search(whole)
            raise about(error, self._count, named[1].decode("utf-8", "replace") if named else None) from error
        self._place = "between"
        self._count += 1
        return Request(self._count - 1, one.custom_id, bytes(one.body))

    def _next_bracket(self, data: bytes, at: int) -> int:
        """Where the next bracket outside of strings is, or the end of the data."""
        while at < len(data):
            if self._escaped:
                self._escaped = False
                at += 1
            if self._in_string:
                at = self._ends(_IN_STRING, data, at)
                if at < len(data):
                    if data[at] == 0x5C:  # a backslash, which is the last byte
                        self._escaped = True
                    else:
                        self._in_string = False
                    at += 1
                continue
            at = self._ends(_PLAIN, data, at)
            if at >= len(data) or data[at] != 0x22:
                break
            self._in_string = True
            at += 1
        return at

    def _ends(self, pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
        found = pattern.match(data, at)
        assert found is not None  # both match nothing, too
        return found.end()

    def _keep_outside(self, data: bytes) -> None:
        self._outside += data
        if len(self._outside) > MOST_OUTSIDE:
            raise PayloadTooLargeError(
                f"what is outside of `requests` is larger than {MOST_OUTSIDE // 1024} KiB; "
                "a batch's requests are the array `requests` of the body",
                metadata={"limit_bytes": MOST_OUTSIDE},
            )


def about(error: InvalidRequestError, number: int, custom_id: str | None) -> InvalidRequestError:
    """The same error, of one of the requests."""
    named = "" if custom_id is None else f' (custom_id "{custom_id[:100]}")'
    more = {"index": number} | ({} if custom_id is None else {"custom_id": custom_id[:LONGEST_ID]})
    return InvalidRequestError(f"requests[{number}]{named}: {error.message}", metadata={**error.metadata, **more})
