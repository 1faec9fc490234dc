"""Reading a request's body: bounded in size, also after decompression, and in time."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar, cast

import msgspec
from litestar import Request

from embedrouter.api.exchange import ClientGone, Exchange
from embedrouter.errors import InvalidRequestError, PayloadTooLargeError, RequestTimeoutError

T = TypeVar("T")

_SLOWEST: Final = 100_000  # bytes a second that a client must reach once its first grace is used up
_SMALL: Final = 65_536  # bytes of a body that describes one thing
_REPEATED: Final = 80  # characters of what was sent that an error repeats
_GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(exchange: Exchange, *, limit: int, grace: float) -> bytes:
    """The whole body, decompressed. limit: bytes after decompression; grace: seconds before slowness counts.

    Raises PayloadTooLargeError, RequestTimeoutError, InvalidRequestError, ClientGone.
    """
    declared = exchange.header(b"content-length") or ""
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    encoding = (exchange.header(b"content-encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise InvalidRequestError(f'content-encoding "{encoding[:40]}" is not supported; send gzip or nothing')
    chunks = _chunks(exchange, grace)
    body = await (_gunzip(chunks, limit) if encoding == "gzip" else _join(chunks, limit))
    if not body:
        raise InvalidRequestError("the request has no body; send JSON")
    return body


async def _chunks(exchange: Exchange, grace: float) -> AsyncIterator[bytes]:
    started = time.monotonic()
    received = 0
    while True:
        left = started + grace + received / _SLOWEST - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await exchange.receive()
        except TimeoutError as error:
            raise RequestTimeoutError("the request's body arrived too slowly; send it again") from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = cast("bytes", message.get("body", b""))
        received += len(chunk)
        yield chunk
        if not message.get("more_body", False):
            return


async def _join(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    parts = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _gunzip(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """Decompress as the chunks come, never holding more than the limit and one chunk."""
    unpacker = zlib.decompressobj(_GZIP)
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            pending = chunk
            while pending:
                if unpacker.eof:  # a gzip file may have several members
                    unpacker = zlib.decompressobj(_GZIP)
                part = await _unpack(unpacker, pending, limit + 1 - size)
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
                pending = unpacker.unconsumed_tail or unpacker.unused_data
    except zlib.error as error:
        raise InvalidRequestError("the body is not valid gzip") from error
    if not unpacker.eof:
        raise InvalidRequestError("the gzip body ends too early")
    return b"".join(parts)


async def _unpack(unpacker: Any, data: bytes, most: int) -> bytes:
    if len(data) < 4096:
        part: bytes = unpacker.decompress(data, min(most, 1 << 20))
        return part
    return await asyncio.to_thread(unpacker.decompress, data, most)


async def read_small(request: Request[Any, Any, Any], decoder: msgspec.json.Decoder[T], grace: float) -> T:
    """The body of a route of Litestar, decoded. Raises as `read_body` and `decode`."""
    exchange = Exchange(request.scope, request.receive, request.send)
    return decode(await read_body(exchange, limit=_SMALL, grace=grace), decoder)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"the request's body is larger than {limit / 1048576:g} MiB; send less at a time",
        metadata={"limit_bytes": limit},
    )


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON strictly. Raises InvalidRequestError naming the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error
    except RecursionError as error:
        raise InvalidRequestError("the JSON is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the body is not valid UTF-8: {error.reason}") from error
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}") from error


def invalid_field(error: msgspec.ValidationError) -> InvalidRequestError:
    """`Expected `int`, got `str` - at `$.dimensions`` told as `dimensions: expected int, got str`."""
    what, _, path = str(error).partition(" - at `")
    field = path.removeprefix("key` in `").rstrip("`").removeprefix("$").removeprefix(".")
    what = what.replace("`", "")
    if what.startswith("Object missing required field "):
        field = ".".join(filter(None, (field, what.rpartition(" ")[2])))
        what = "is required"
    elif what.startswith("Expected "):
        what = "expected " + what.removeprefix("Expected ")
    elif len(what) > _REPEATED and what.startswith("Invalid enum value "):
        what = what[:_REPEATED] + "..."
    if field:
        return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
    return InvalidRequestError(f"the request's body: {what}")


def plain(field: str, text: str) -> str:
    """A text without control characters, which no name needs. Raises InvalidRequestError."""
    if any(character < " " or "\x7f" <= character < "\xa0" for character in text) or not text.strip():
        raise InvalidRequestError(f"{field}: must be a text without control characters", metadata={"field": field})
    return text
