"""HTTP clients of the benchmarks: one that embeds texts, and two loads of prepared requests.

The closed loop is wrk's work where it is installed: it costs the server's cores least. The open loop, which sends on
time whether or not answers come, is asyncio with one keep-alive connection a request in flight.
"""

import asyncio
import base64
import http.client
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from common import HERE, MODEL

WRK = shutil.which("wrk")
NO_ANSWER = 0  # the status counted where a connection failed


@dataclass
class Load:
    """What a load saw. Latencies in milliseconds."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: dict[int, list[float]] = field(default_factory=dict)  # by status
    unsent: int = 0  # the open loop ran out of connections

    def add(self, status: int, milliseconds: float) -> None:
        self.statuses[status] += 1
        self.latencies.setdefault(status, []).append(milliseconds)


@dataclass(frozen=True)
class ClosedLoop:
    """One closed-loop measurement. Latencies in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float
    failed: int  # other statuses than 200, timeouts, broken connections


def body(texts: str | Sequence[str], encoding: str = "float", *, truncate: bool | None = None) -> bytes:
    fields: dict[str, object] = {"model": MODEL, "input": texts, "encoding_format": encoding}
    if truncate is not None:
        fields["truncate"] = truncate
    return json.dumps(fields, ensure_ascii=False).encode()


def embed(
    url: str, key: str, texts: Sequence[str], *, encoding: str = "base64", truncate: bool | None = None
) -> NDArray[np.float32]:
    """Vectors (n, 384) of texts, by one request. Raises RuntimeError naming the status if it is not 200."""
    status, answer = _post(url, key, body(texts, encoding, truncate=truncate))
    if status != 200:
        raise RuntimeError(f"{url} answered {status}: {answer[:300]!r}")
    data = sorted(json.loads(answer)["data"], key=lambda one: int(one["index"]))
    if encoding == "base64":
        rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in data]
    else:
        rows = [np.array(one["embedding"], np.float32) for one in data]
    return np.stack(rows)


def embed_all(
    url: str, key: str, texts: Sequence[str], *, truncate: bool | None = None, batch: int = 64
) -> NDArray[np.float32]:
    """Vectors of any number of texts, in batches, with one line of progress."""
    parts = []
    for start in range(0, len(texts), batch):
        parts.append(embed(url, key, texts[start : start + batch], truncate=truncate))
        if sys.stderr.isatty():
            print(f"\r{start + len(parts[-1]):,} of {len(texts):,} texts ", end="", file=sys.stderr, flush=True)
    return np.concatenate(parts)


def seconds_of_one(url: str, key: str, text: str = "how long does one request take") -> float:
    """Seconds of a single request, its connection included."""
    started = time.perf_counter()
    embed(url, key, [text])
    return time.perf_counter() - started


def settle(url: str, key: str, limit_s: float = 120.0) -> None:
    """Wait until the server has worked off what an earlier load left behind: until three quick answers in a row."""
    deadline = time.monotonic() + limit_s
    quick = 0
    while quick < 3 and time.monotonic() < deadline:
        quick = quick + 1 if seconds_of_one(url, key) < 0.2 else 0


def _post(url: str, key: str, payload: bytes) -> tuple[int, bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=300)
    try:
        connection.request("POST", f"{place.path}/embeddings", payload, _headers(key))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _headers(key: str) -> dict[str, str]:
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


# --- closed loop


def closed_loop(url: str, key: str, bodies: Path, connections: int, seconds: float) -> ClosedLoop:
    """Requests from `bodies` (one JSON body a line, in a cycle); each connection waits for its answer."""
    if WRK is None:
        return asyncio.run(_own_closed_loop(url, key, bodies.read_bytes().splitlines(), connections, seconds))
    command = [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "600s"]
    command += ["-s", str(HERE / "wrk.lua"), f"{url}/embeddings", "--", str(bodies), key]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.rpartition("RESULT ")[2])
    return ClosedLoop(
        found["requests"] / found["microseconds"] * 1e6,
        found["p50_microseconds"] / 1e3,
        found["p99_microseconds"] / 1e3,
        found["failed"],
    )


async def _own_closed_loop(url: str, key: str, bodies: Sequence[bytes], connections: int, seconds: float) -> ClosedLoop:
    requests = cycle([prepare(url, key, one) for one in bodies])
    load = Load()
    started = time.perf_counter()

    async def one() -> None:
        connection = Connection(url)
        while time.perf_counter() - started < seconds:
            sent = time.perf_counter()
            status = (await connection.send(next(requests))).status
            if time.perf_counter() - started < seconds:
                load.add(status, (time.perf_counter() - sent) * 1e3)
        connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    latencies = load.latencies.get(200, [float("nan")])
    failed = load.statuses.total() - load.statuses[200]
    p50, p99 = (float(np.percentile(latencies, q)) for q in (50, 99))
    return ClosedLoop(load.statuses.total() / seconds, p50, p99, failed)


# --- open loop


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: bool


class Connection:
    """One keep-alive connection that carries one request at a time."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> Answer:
        """Send one request and read its answer; status 0 if the connection broke. It opens itself again."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
            reader, writer = self._streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            self.close()
            return Answer(NO_ANSWER, retry_after=False)
        if b"connection: close" in head:
            self.close()
        return Answer(int(head[9:12]), b"retry-after:" in head)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def prepare(url: str, key: str, payload: bytes) -> bytes:
    """The bytes of one request."""
    place = urlsplit(url)
    head = [f"POST {place.path}/embeddings HTTP/1.1", f"Host: {place.netloc}", f"Content-Length: {len(payload)}"]
    head += [f"{name}: {value}" for name, value in _headers(key).items()]
    return "\r\n".join([*head, "", ""]).encode() + payload


async def open_loop(
    url: str, requests: Iterator[bytes], rate: float, seconds: float, limit: int, on_end: Callable[[], object]
) -> tuple[Load, int]:
    """Send `rate` requests a second on time, over at most `limit` connections, then wait for every answer.

    on_end is called when the last one was sent, before the waiting. Returns what was seen and how many of the answers
    with 503 had no Retry-After.
    """
    load = Load()
    idle: list[Connection] = []
    opened = 0
    without_retry_after = 0
    running: set[asyncio.Task[None]] = set()

    async def one(connection: Connection, request: bytes) -> None:
        nonlocal without_retry_after
        sent = time.perf_counter()
        answer = await connection.send(request)
        load.add(answer.status, (time.perf_counter() - sent) * 1e3)
        without_retry_after += answer.status == 503 and not answer.retry_after
        idle.append(connection)

    started = time.perf_counter()
    for number in range(round(rate * seconds)):
        delay = started + number / rate - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        elif number % 64 == 0:
            await asyncio.sleep(0)  # behind time: let answers in all the same
        if time.perf_counter() - started > seconds * 1.5:
            load.unsent += round(rate * seconds) - number  # this client is too slow for the rate
            break
        if idle:
            connection = idle.pop()
        elif opened < limit:
            opened += 1
            connection = Connection(url)
        else:
            load.unsent += 1
            continue
        task = asyncio.create_task(one(connection, next(requests)))
        running.add(task)
        task.add_done_callback(running.discard)
    load.seconds = time.perf_counter() - started
    on_end()
    while running:
        await asyncio.wait(running)
    for connection in idle:
        connection.close()
    return load, without_retry_after
