"""An embeddings provider for tests: OpenAI's wire format over real HTTP, that fails in whatever way it is told to.

It speaks raw sockets, as most of what it does wrong is no HTTP that a server library would let through.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import math
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, NamedTuple, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from server import PATIENCE, free_port

METADATA = "http://169.254.169.254/latest/meta-data/"
_MIB = 1024 * 1024

Vector = NDArray[np.float32]
Policy = Callable[[int], str] | str
Headers = tuple[tuple[str, str], ...]
_JSON: Final[Headers] = (("content-type", "application/json"),)


class Seen(NamedTuple):
    """A request as it came."""

    path: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def key(self) -> str | None:
        """The credential it brought."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    @property
    def asked(self) -> Any:
        return json.loads(self.body)


def vector_of(text: str | Sequence[int], dimensions: int) -> Vector:
    """A unit vector, the same for the same text."""
    shaken = hashlib.shake_256(json.dumps(text).encode()).digest(4 * dimensions)
    raw = np.frombuffer(shaken, "<u4").astype(np.float64) / 2**31 - 1
    unit: Vector = (raw / math.sqrt(float(raw @ raw))).astype(np.float32)
    return unit


def tokens_of(text: str | Sequence[int]) -> int:
    """What the upstream counts: words, or the ids of an input that is tokens."""
    return len(text.split()) if isinstance(text, str) else len(text)


class Upstream:
    """A provider in a thread.

    policy: what it does with its n-th request (from 0): one of

        ok  slow:SECONDS  drip:SECONDS (a byte each)  silent  reset  close  half  half_chunked  garbage
        429[:RETRY_AFTER]  503[:RETRY_AFTER]  any other status, such as 500
        few  many  shuffled  unindexed  twice (an index)  short  nan  null
        gzip  gzip_bomb  bad_gzip  endless  endless_chunked  error200  redirect[:URL]  html  empty  no_json  wrong_type
        huge_header  many_headers  cookie

    `shuffled` is a right answer, by its indices; `unindexed` is in order, without them.
    """

    def __init__(
        self, policy: Policy = "ok", *, dimensions: int = 384, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self.dimensions = dimensions
        self.port = port or free_port()
        self.seen: list[Seen] = []
        self.accepted = 0  # connections ever
        self.sent = 0  # bytes of bodies
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, as a provider's is configured."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> int:
        return len(self.seen)

    @property
    def bodies(self) -> list[Any]:
        return [one.asked for one in self.seen]

    @property
    def keys(self) -> list[str | None]:
        return [one.key for one in self.seen]

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._writers)

    def start(self) -> None:
        """On the same port as before."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="upstream", daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE), "the upstream does not start"

    def stop(self) -> None:
        """Break every connection and take no more."""
        if self._thread is not None and self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(PATIENCE)
            self._thread = None

    def hang_up(self) -> None:
        """Close every connection, idle or not, in good order."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._hang_up)

    def _hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, ssl=self._tls, limit=_MIB, backlog=1024
        )
        ready.set()
        await self._stopped.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        # What was still answering ends with the loop.

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        try:
            while (seen := await _request(reader)) is not None:
                number = self.requests
                self.seen.append(seen)
                wanted = self.policy if isinstance(self.policy, str) else self.policy(number)
                behaviour, _, argument = wanted.partition(":")
                if not await self._behave(behaviour, argument, seen, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _behave(
        self, behaviour: str, argument: str, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection stays open."""
        match behaviour:
            case "slow":
                if await _gone_within(reader, float(argument)):
                    return False
            case "silent":
                await reader.read()
                return False
            case "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return False
            case "close":
                return False
            case "endless" | "endless_chunked":
                await self._endless(writer, chunked=behaviour == "endless_chunked")
                return False
        raw = self._raw(behaviour, argument, seen)
        if behaviour == "drip":
            for place in range(len(raw)):
                await self._send(writer, raw[place : place + 1])
                await asyncio.sleep(float(argument))
        else:
            await self._send(writer, raw)
        return behaviour not in {"half", "half_chunked", "garbage"}

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        self.sent += len(data)
        await writer.drain()

    async def _endless(self, writer: asyncio.StreamWriter, *, chunked: bool) -> None:
        part = b" " * 65_536
        if chunked:
            part = b"%x\r\n%s\r\n" % (len(part), part)
        framing = ("transfer-encoding", "chunked") if chunked else ("connection", "close")
        await self._send(writer, _head(200, (*_JSON, framing)))
        while True:
            await self._send(writer, part)

    def _raw(self, behaviour: str, argument: str, seen: Seen) -> bytes:
        if behaviour in {"ok", "slow", "drip"}:
            return _reply(200, self._answer(seen))
        if behaviour.isdecimal():
            headers = (("retry-after", argument),) if argument else ()
            return _reply(int(behaviour), _error(f"status {behaviour}"), (*_JSON, *headers))
        if behaviour in _MANGLED:
            document = json.loads(self._answer(seen, as_base64=False))
            _MANGLED[behaviour](document)
            return _reply(200, json.dumps(document).encode())
        good = self._answer(seen)
        match behaviour:
            case "half":
                return _head(200, (*_JSON, ("content-length", str(len(good))))) + good[: len(good) // 2]
            case "half_chunked":
                return _head(200, (*_JSON, ("transfer-encoding", "chunked"))) + b"%x\r\n%s" % (len(good), good[:99])
            case "garbage":
                return b"220 mail.example ESMTP\r\n"
            case "gzip":
                return _reply(200, gzip.compress(good), (*_JSON, ("content-encoding", "gzip")))
            case "bad_gzip":
                return _reply(200, b"no gzip" * 99, (*_JSON, ("content-encoding", "gzip")))
            case "gzip_bomb":
                return _reply(200, bomb(), (*_JSON, ("content-encoding", "gzip")))
            case "error200":
                return _reply(200, _error("out of memory"))
            case "redirect":
                return _reply(302, b"", (("location", argument or METADATA),))
            case "html":
                return _reply(200, b"<!doctype html><title>Log in</title>", (("content-type", "text/html"),))
            case "wrong_type":
                return _reply(200, good, (("content-type", "text/plain"),))
            case "empty":
                return _reply(200, b"")
            case "no_json":
                return _reply(200, good[:-20])
            case "cookie":
                return _reply(200, good, (*_JSON, ("set-cookie", "session=1; Path=/")))
            case "huge_header":
                return _reply(200, good, (*_JSON, ("x-huge", "a" * 1_000_000)))
            case "many_headers":
                return _reply(200, good, (*_JSON, *((f"x-{number}", "a") for number in range(10_000))))
        raise AssertionError(f"no such behaviour: {behaviour}")

    def _answer(self, seen: Seen, *, as_base64: bool | None = None) -> bytes:
        asked = seen.asked
        texts = _texts(asked["input"])
        dimensions = asked.get("dimensions") or self.dimensions
        as_base64 = asked.get("encoding_format") == "base64" if as_base64 is None else as_base64
        data = [
            {"object": "embedding", "index": index, "embedding": _coded(vector_of(text, dimensions), as_base64)}
            for index, text in enumerate(texts)
        ]
        tokens = sum(map(tokens_of, texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return orjson.dumps({"object": "list", "data": data, "model": asked.get("model"), "usage": usage})


@cache
def bomb(unpacked: int = 10 * 1024 * _MIB) -> bytes:
    """A gzip stream, about a thousandth of what it unpacks to. unpacked: bytes. Its checksum is wrong."""
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * _MIB) + packer.flush(zlib.Z_FULL_FLUSH)  # depends on nothing before it
    return start + block * (unpacked // _MIB) + packer.flush()


def _texts(asked: Any) -> list[Any]:
    if isinstance(asked, str) or (asked and isinstance(asked[0], int)):
        return [asked]
    return list(asked)


def _coded(vector: Vector, as_base64: bool) -> str | list[float]:
    # A float64's shortest form is read back to the very same float32.
    return base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.tolist()


def _few(document: Any) -> None:
    document["data"].pop()


def _many(document: Any) -> None:
    document["data"].append({**document["data"][-1], "index": len(document["data"])})


def _shuffled(document: Any) -> None:
    document["data"].reverse()


def _unindexed(document: Any) -> None:
    for one in document["data"]:
        del one["index"]


def _twice(document: Any) -> None:
    for one in document["data"]:
        one["index"] = 0


def _short(document: Any) -> None:
    document["data"][-1]["embedding"].pop()


def _nan(document: Any) -> None:
    document["data"][-1]["embedding"][0] = math.nan


def _null(document: Any) -> None:
    document["data"][-1]["embedding"][0] = None


# A document that is spoilt.
_MANGLED: Final[Mapping[str, Callable[[Any], None]]] = {
    "few": _few,
    "many": _many,
    "shuffled": _shuffled,
    "unindexed": _unindexed,
    "twice": _twice,
    "short": _short,
    "nan": _nan,
    "null": _null,
}


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "server_error", "code": None}}).encode()


def _head(status: int, headers: Headers) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode()


def _reply(status: int, body: bytes, headers: Headers = _JSON) -> bytes:
    return _head(status, (*headers, ("content-length", str(len(body))))) + body


async def _request(reader: asyncio.StreamReader) -> Seen | None:
    """None: the client has closed."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(line.split(" ")[1], headers, body)


async def _gone_within(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Whether the client closes before."""
    try:
        return not await asyncio.wait_for(reader.read(1), seconds)
    except TimeoutError:
        return False
