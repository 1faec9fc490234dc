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
from embedrouter.fields import decode

T = TypeVar("T")

_SLOWEST: Final = 100_000  # bytes a second that a client must reach once its first grace is used up
_SMALL: Final = 65_536  # bytes of a body that describes one thing
_UNPACKED: Final = 1 << 20  # bytes that are decompressed at a time
_PIECE: Final = 65_536  # bytes of a body that is read in pieces
_GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(exchange: Exchange, *, limit: int, grace: float) -> bytes:
    """The whole body, decompressed. limit: bytes after decompression; grace: seconds before slowness counts.

    Raises PayloadTooLargeError, RequestTimeoutError, InvalidRequestError, ClientGone.
    """
    gzipped = _check_head(exchange, limit)
    chunks = _chunks(exchange, grace)
    body = b"".join([part async for part in _gunzip(chunks, limit)]) if gzipped else await _join(chunks, limit)
    if not body:
        raise InvalidRequestError("the request has no body; send JSON")
    return body


async def read_pieces(exchange: Exchange, *, limit: int, grace: float) -> AsyncIterator[bytes]:
    """The body as it arrives, decompressed, in pieces of 1 byte to _PIECE; the rest as `read_body`."""
    gzipped = _check_head(exchange, limit)
    chunks = _chunks(exchange, grace)
    size = 0
    async for chunk in _gunzip(chunks, limit) if gzipped else chunks:
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]


def _check_head(exchange: Exchange, limit: int) -> bool:
    """Whether the body is compressed. Raises PayloadTooLargeError, InvalidRequestError."""
    declared = exchange.header(b"content-length") or ""
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    encoding = (exchange.header(b"content-encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise InvalidRequestError(f'content-encoding "{encoding[:40]}" is not supported; send gzip or nothing')
    return encoding == "gzip"


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


async def _gunzip(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Decompress as the chunks come, never more than the limit."""
    unpacker = zlib.decompressobj(_GZIP)
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
                yield part
                pending = unpacker.unconsumed_tail or unpacker.unused_data
    except zlib.error as error:
        raise InvalidRequestError("the body is not valid gzip") from error
    if not unpacker.eof:
        raise InvalidRequestError("the gzip body ends too early")


async def _unpack(unpacker: Any, data: bytes, most: int) -> bytes:
    if len(data) < 4096:
        part: bytes = unpacker.decompress(data, min(most, _UNPACKED))
        return part
    return await asyncio.to_thread(unpacker.decompress, data, min(most, _UNPACKED))


async def read_small(request: Request[Any, Any, Any], decoder: msgspec.json.Decoder[T], grace: float) -> T:
    """The body of a route of Litestar, decoded. Raises as `read_body` and `decode`."""
    exchange = Exchange(request.scope, request.receive, request.send)
    return decode(await read_body(exchange, limit=_SMALL, grace=grace), decoder)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"the request's body is larger than {limit / 1048576:g} MiB; send less at a time",
        metadata={"limit_bytes": limit},
    )
