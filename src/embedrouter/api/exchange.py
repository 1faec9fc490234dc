"""One request and its answer on the hot path, without a framework in between.

`POST /embeddings` is served as a plain ASGI application inside Litestar: measured, its Request and Response objects and
its dependency injection cost more than everything else that this server does for a short text but the model itself.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from litestar.types import Receive, Scope, Send

_PATIENCE: Final = 0.25  # seconds before a request is worth watching for its client's departure


class ClientGone(Exception):  # noqa: N818 (an event, not an error)
    """The client closed the connection before its request was answered."""


class Answer(NamedTuple):
    """A JSON response."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Exchange:
    """The request's headers and body stream, and the way to answer it."""

    __slots__ = ("_headers", "_send", "method", "receive")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]  # type: ignore[typeddict-item]
        self.receive = receive
        self._send = send

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name; the last one, if there are several."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def answer(self, answer: Answer) -> None:
        """Send the whole answer."""
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(answer.body)))
        start: Any = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": False})


class Departure:
    """While entered, the task is cancelled when its client leaves; that comes out as ClientGone.

    Nothing is watched in the first quarter of a second: most requests are answered by then.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise ClientGone from error

    def _start(self) -> None:
        self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        # The body has been read: the only message that can come is that the client is gone.
        await self._receive()
        self._gone = True
        self._task.cancel()
