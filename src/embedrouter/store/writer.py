"""The one writer: a thread that commits in groups what all requests want written.

Whoever wants something written submits a handler and a payload. The thread takes all that wait, gives each handler its
payloads at once, and commits; so under load many requests share one transaction, and without load nobody waits for
company. A handler answers for each of its payloads with a result, or with an exception for that payload alone.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from embedrouter.errors import OverloadedError
from embedrouter.store.database import Database, cause, unavailable

log = logging.getLogger(__name__)

P = TypeVar("P")
R = TypeVar("R")

_GROUP: Final = 1024  # works in one transaction
_TIDY: Final = 256  # transactions between looks at the size of SQLite's WAL
_WAITING: Final = 50_000  # works; beyond, writing is refused


class Batch(NamedTuple):
    """What a handler works with: an open transaction."""

    connection: Connection
    cursor: Any  # the driver's own, in the same transaction, for what must be quick
    database: Database
    again: bool  # an earlier try may have been committed although the connection broke: look before you add


Handler = Callable[[Batch, Sequence[P]], Sequence[R | Exception]]
"""Writes all payloads; answers with one result, or exception, for each, in order."""


class _Work(NamedTuple):
    handler: Handler[Any, Any]
    payload: Any
    future: "Future[Any] | asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop | None


class Writer:
    """Thread-safe. Close it to write what waits and stop the thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Work] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._connection: Connection | None = None  # the thread's
        self.failing = False  # the last transaction could not be had: the database is locked, full, away
        self.commits = 0
        self.watcher: Callable[[int, float], None] = lambda _works, _seconds: None
        self._thread = threading.Thread(target=self._run, name="embedrouter-writer", daemon=True)
        self._thread.start()

    def submit(self, handler: Handler[P, R], payload: P) -> "Future[R]":
        """Have it written, from any thread. The future raises StoreUnavailableError; cancelling it does nothing."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        self._put(_Work(handler, payload, future, None))
        return future

    def write(self, handler: Handler[P, R], payload: P) -> "asyncio.Future[R]":
        """Have it written, from an event loop. What was submitted is written also when nobody waits for it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._put(_Work(handler, payload, future, loop))
        return future

    @property
    def waiting(self) -> int:
        """Works that wait."""
        return len(self._waiting)

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, at most `timeout` seconds, and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _put(self, work: _Work) -> None:
        with self._wake:
            if self._closing:
                raise OverloadedError("the server is shutting down; try again", retry_after=5)
            if len(self._waiting) >= _WAITING:
                raise OverloadedError("the database cannot keep up; try again", retry_after=2)
            self._waiting.append(work)
            self._wake.notify()

    # --- the writer's thread

    def _run(self) -> None:
        while works := self._take():
            started = time.perf_counter()
            results = self._written(works)
            if self.failing:  # what has come meanwhile need not wait as long, to be told the same
                late = self._take_all()
                works, results = works + late, results + [unavailable() for _ in late]
            _deliver(works, results)
            self._tidy(len(works), time.perf_counter() - started)
        self._disconnect()

    def _tidy(self, works: int, seconds: float) -> None:
        """After a transaction. Whatever fails here, what was committed has been told, and the thread goes on."""
        try:
            self.watcher(works, seconds)
            if self._connection is not None and self.commits % _TIDY == 0:
                self._database.bound_wal(self._connection)
        except Exception as error:
            log.warning("tidying up after a transaction failed: %s", cause(error))

    def _take(self) -> list[_Work]:
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            return [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]

    def _take_all(self) -> list[_Work]:
        with self._wake:
            works = list(self._waiting)
            self._waiting.clear()
            return works

    def _written(self, works: Sequence[_Work]) -> list[Any]:
        try:
            results = self._transact(works, again=False)
        except Exception as error:
            if self._database.is_failure(error):
                return self._after_failure(works, error)
            self.failing = False
            if len(works) == 1:
                log.exception("writing to the database failed")
                return [error]
            results = []
            for work in works:  # one of them is at fault: each by itself, then
                results += [unavailable()] if self.failing else self._written([work])
            return results
        self.failing = False
        return results

    def _after_failure(self, works: Sequence[_Work], error: Exception) -> list[Any]:
        """Once more if the connection broke: the first try may even have been committed."""
        broke = self._connection is not None and self._database.is_broken(self._connection)
        self._disconnect()
        if broke:
            try:
                results = self._transact(works, again=True)
            except Exception as second:
                log.warning("the database is still away: %s", type(second).__name__)
                self._disconnect()
            else:
                self.failing = False
                return results
        if not self.failing:
            log.error("the database cannot be written: %s", cause(error))
        self.failing = True
        return [unavailable(error) for _ in works]

    def _disconnect(self) -> None:
        """The next use connects anew. SQLite keeps a file it once could only read read-only."""
        if self._connection is not None:
            with suppress(Exception):  # whatever a broken connection says to that
                self._connection.invalidate()
                self._connection.close()
            self._connection = None
        self._database.forget_connections()

    def _transact(self, works: Sequence[_Work], *, again: bool) -> list[Any]:
        groups: dict[Handler[Any, Any], list[int]] = {}
        for index, work in enumerate(works):
            groups.setdefault(work.handler, []).append(index)
        results: list[Any] = [None] * len(works)
        connection = self._connected()
        with connection.begin():
            self._database.serialise(connection)
            cursor = connection.connection.cursor()
            batch = Batch(connection, cursor, self._database, again)
            # Works that arrive together have no order; who gives back goes before who takes.
            for handler, indices in sorted(groups.items(), key=lambda group: getattr(group[0], "takes", False)):
                answers = handler(batch, [works[index].payload for index in indices])
                for index, answer in zip(indices, answers, strict=True):
                    results[index] = answer
            cursor.close()
        self.commits += 1
        return results

    def _connected(self) -> Connection:
        """One connection for as long as it works: taking it from the pool for each transaction takes as long as SQL."""
        if self._connection is None or self._connection.closed or self._connection.invalidated:
            self._connection = self._database.write_engine.connect()
        return self._connection


def _deliver(works: Sequence[_Work], results: Sequence[Any]) -> None:
    """Wake who waits: one call a loop, since each wakes it through a pipe."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for work, result in zip(works, results, strict=True):
        if work.loop is not None:
            by_loop.setdefault(work.loop, []).append((work.future, result))  # type: ignore[arg-type]
        else:
            _settle(work.future, result)
    for loop, settled in by_loop.items():
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_settle_all, settled)


def _settle_all(settled: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, result in settled:
        if not future.done():
            _settle(future, result)


def _settle(future: "Future[Any] | asyncio.Future[Any]", result: Any) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
