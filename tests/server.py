"""A real server for tests: `embedrouter serve` as a child process, and a client that can also misbehave.

Rooms that test over HTTP import the fixtures `live` and `small` in their conftest. Both servers start once a session.
"""

import atexit
import base64
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

KEY = "sk-er-v1-" + "5eed" * 16
MANAGER = "sk-er-v1-" + "b055" * 16  # the management key of `managed`
MODEL = "sentence-transformers/all-minilm-l6-v2"
EMBEDDINGS = "/api/v1/embeddings"
PICO_PER_TOKEN = 5_000
PATIENCE = 60.0  # seconds after which a test that waits has failed

Vectors = NDArray[np.float32]
_COMMAND = str(Path(sys.executable).with_name("embedrouter"))
# A machine's own choice of where the weights are and what computes stays; nothing else leaks into a test's server.
_KEPT = {f"EMBEDROUTER_{name}" for name in ("CACHE_DIR", "MODEL_DIR", "OFFLINE", "ENGINE", "PRECISION", "THREADS")}
# Our settings, and credentials of providers, with which more models would be served.
_OWN = re.compile("^EMBEDROUTER_|_API_KEY$|_API_TOKEN$|^AWS_BEARER_")
_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work number night point home water room mother area money"
)
_WORDS = _TEXT.split()


class Answer(NamedTuple):
    """One HTTP response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def error(self, status: int, error_type: str) -> dict[str, Any]:
        """The error object, checked for the envelope that both SDKs need."""
        assert self.status == status, (self.status, self.body[:500])
        assert self.headers["content-type"] == "application/json"
        document = self.json()
        assert list(document) == ["error"]
        found: dict[str, Any] = document["error"]
        assert found["code"] == status
        assert type(found["code"]) is int
        assert isinstance(found["message"], str)
        assert found["message"]
        assert found["metadata"]["error_type"] == error_type, found
        return found

    def vectors(self) -> Vectors:
        """(n, dimensions) float32 from an answer in either encoding, with its shape checked."""
        assert self.status == 200, (self.status, self.body[:500])
        document = self.json()
        assert document["object"] == "list"
        rows = document["data"]
        assert [row["index"] for row in rows] == list(range(len(rows)))
        assert {row["object"] for row in rows} == {"embedding"}
        return np.array([decoded(row["embedding"]) for row in rows], np.float32)

    def tokens(self) -> int:
        """Billed tokens, with the usage object checked."""
        assert self.status == 200, (self.status, self.body[:500])
        usage = self.json()["usage"]
        tokens: int = usage["prompt_tokens"]
        assert type(tokens) is int
        assert usage["total_tokens"] == tokens
        return tokens


def decoded(embedding: str | list[float]) -> Vectors:
    """One vector from base64 or from floats."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    return np.array(embedding, np.float32)


@dataclass
class Server:
    """A running `embedrouter serve`."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path  # its data dir, its stdout and its stderr
    key: str = KEY

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base(self) -> str:
        return f"{self.root}/api/v1"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def output(self) -> str:
        """All it has printed and logged so far."""
        return "".join((self.folder / name).read_text() for name in ("stdout", "stderr"))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> Answer:
        """One request on a connection of its own. key: sent as the bearer token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        payload = json.dumps(body) if isinstance(body, dict) else body
        with contextlib.closing(connection):
            # A server may answer and close before it has read the whole body: the answer is there all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, payload, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, body: bytes | str | dict[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """POST /embeddings with the key."""
        return self.request("POST", EMBEDDINGS, body, headers, key=self.key)

    def embed(self, given: Any, /, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        """POST /embeddings of an `input`, by the model's slug unless `model` is given."""
        return self.post({"model": MODEL, "input": given, **fields}, headers)

    def manage(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> Answer:
        """A request under /api/v1 with the management key; `Idempotency_Key="x"` is a header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request(method, f"/api/v1{path}", body, sent, key=MANAGER)

    def new_key(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        """A key made with POST /keys: its secret, and what is told of it."""
        answer = self.manage("POST", "/keys", {"name": "a test's", **fields})
        assert answer.status == 201, answer.body
        document = answer.json()
        return document["key"], document["data"]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def head(self, *lines: str) -> bytes:
        """The head of a POST /embeddings with the key, for raw sockets; `lines` are further headers."""
        fixed = (f"POST {EMBEDDINGS} HTTP/1.1", "Host: test", f"Authorization: Bearer {self.key}")
        return "\r\n".join((*fixed, "Content-Type: application/json", *lines, "", "")).encode("latin-1")

    def raw(self, data: bytes) -> list[Answer]:
        """Send bytes and read all responses until the server closes; add `Connection: close` to what is sent."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # it may answer and close before it has read everything
                connection.sendall(data)
            return answers(read_all(connection))

    def metrics(self) -> dict[str, float]:
        """Every series, by its name with its labels."""
        lines = self.get("/metrics").body.decode().splitlines()
        return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}

    def queued_tokens(self) -> int:
        found = self.get("/ready").json()["queued_tokens"]
        assert isinstance(found, int)
        return found

    def forget_peak(self) -> int:
        """Start `peak_mib` anew; the memory it holds now, in MiB."""
        with contextlib.suppress(PermissionError):  # then the peak stays what it was, and tests see less
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak_mib()

    def peak_mib(self) -> int:
        """The most memory it held since the start, or since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the peer closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answers(stream: bytes) -> list[Answer]:
    """The responses in a byte stream, framed by Content-Length; interim 1xx responses are passed over."""
    found = []
    while stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        code = int(status.split(" ")[1])
        if code < 200:
            continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", "0"))
        found.append(Answer(code, headers, stream[:size]))
        stream = stream[size:]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment without its embedrouter settings, but with these: `max_body_mib=1`."""
    kept = {k: v for k, v in os.environ.items() if not _OWN.search(k) or k in _KEPT}
    return kept | {f"EMBEDROUTER_{name.upper()}": str(value) for name, value in settings.items()}


def cli(
    *arguments: str | int | Path, stdin: str | None = None, timeout: float = PATIENCE, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [_COMMAND, *map(str, arguments)],
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextlib.contextmanager
def serving(folder: Path, *flags: str, key: str | None = KEY, **settings: Any) -> Iterator[Server]:
    """Start a server in `folder`, wait until it is ready, and end it. key: None lets it make its own."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    chosen = settings if key is None else {"api_key": key, **settings}
    command = [_COMMAND, "serve", "--port", str(port), "--data-dir", str(folder / "data"), *flags]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command, env=environment(**chosen), stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=folder
        )
    server = Server(process, port, folder, key or "")
    try:
        _until_ready(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _until_ready(server: Server) -> None:
    def is_ready() -> bool:
        assert server.process.poll() is None, server.output()
        try:
            return server.get("/ready").status == 200 and "Try it" in server.output()
        except OSError:
            return False

    eventually(is_ready)


@cache
def shared(**settings: Any) -> Server:
    """A server for the whole session; the same settings give the same server."""
    stack = contextlib.ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="embedrouter-test-"))
    server = stack.enter_context(serving(Path(folder), **settings))
    atexit.register(stack.close)
    return server


@pytest.fixture(scope="session")
def live() -> Server:
    """A server with the default settings."""
    return shared()


@pytest.fixture(scope="session")
def managed() -> Server:
    """A server with the management key MANAGER."""
    return shared(management_key=MANAGER)


@pytest.fixture(scope="session")
def small() -> Server:
    """A server with small limits: 1 MiB a body, 1 s of grace for slow bodies, 8,192 tokens in its queue."""
    return shared(max_body_mib=1, body_timeout_s=1, max_queued_tokens=8192, access_log="true")


def eventually(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds; fail if it does not in `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {patience:g} s"
        time.sleep(0.02)


def sentences(count: int, words: int, seed: int = 0) -> list[str]:
    """Distinct English-looking texts, about one token a word, the same for the same seed."""
    chosen = random.Random(seed)
    return [" ".join((*chosen.choices(_WORDS, k=words), str(number), str(seed))) for number in range(count)]


def cl100k(text: str) -> list[int]:
    """The ids that OpenAI's clients send for a text."""
    from rs_bpe import openai

    ids: list[int] = openai.cl100k_base().encode(text)
    return ids


def rows(vectors: Any) -> Vectors:
    """Lists of floats, as clients give them, as an array."""
    return np.array(vectors, np.float32)


def cosine(left: Vectors, right: Vectors) -> float:
    """The smallest cosine between the rows of two arrays of unit vectors."""
    return float(np.min(np.sum(np.atleast_2d(left) * np.atleast_2d(right), axis=1)))


def at(document: Any, path: str) -> Any:
    """The value at `data.0.id`. Raises LookupError if it is not there."""
    for step in path.split("."):
        document = document[int(step)] if isinstance(document, Sequence) else document[step]
    return document
