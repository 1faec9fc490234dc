"""The one writer: commits in groups what all requests want written.

Whoever wants something written submits a handler and a payload. The writer takes all that wait, gives each handler its
payloads at once, and commits; so under load many requests share one transaction, and without load nobody waits for
company. A handler answers for each of its payloads with a result, or with an exception for that payload alone.

A thread does the writing. Only where SQLite commits without waiting for the disk, and nobody else is writing, the event
loop commits what its requests left in one round by itself: that takes less than waking a thread and being woken by it.
Whatever goes wrong there, the thread does over.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, TypeVar

from embedrouter.errors import OverloadedError
from embedrouter.store.database import Database, cause, unavailable
from embedrouter.store.session import Handler, Session, Work

log = logging.getLogger(__name__)

P = TypeVar("P")
R = TypeVar("R")

_GROUP: Final = 1024  # works in one transaction
_TIDY: Final = 256  # transactions between looks at the size of SQLite's WAL
_WAITING: Final = 50_000  # works; beyond, writing is refused
_SLOW: Final = 0.02  # seconds; a transaction that holds the event loop up for so long sends the next ones to the thread
_SLOW_FOR: Final = 1.0  # seconds


class Writer:
    """Thread-safe. Close it to write what waits and stop the thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Work] = deque()
        self._wake = threading.Condition()
        self._writing = False  # somebody is: the thread, or the event loop
        self._closing = False
        self._thread_session = Session(database, database.write_engine)
        self._loop_session = None if database.quick_engine is None else Session(database, database.quick_engine)
        self._gathered: list[Work] = []  # in the event loop's round
        self._slow_until = 0.0  # time.monotonic()
        self._tidied = 0  # commits when we looked
        self.failing = False  # the last transaction could not be had: the database is locked, full, away
        self.commits = 0
        self.watcher: Callable[[int, float], None] = lambda _works, _seconds: None
        self._thread = threading.Thread(target=self._run, name="embedrouter-writer", daemon=True)
        self._thread.start()

    def submit(self, handler: Handler[P, R], payload: P) -> "Future[R]":
        """Have it written, from any thread. The future raises StoreUnavailableError; cancelling it does nothing."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        self._put([Work(handler, payload, future, None)])
        return future

    def write(self, handler: Handler[P, R], payload: P, *, apart: bool = False) -> "asyncio.Future[R]":
        """Have it written, from the event loop. What was submitted is written also when nobody waits for it.

        apart: never by the event loop itself, which has requests to answer.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        work = Work(handler, payload, future, loop)
        if apart:
            self._put([work])
        elif self._gathered and self._gathered[0].loop is loop:  # in order, whatever has begun meanwhile
            self._gathered.append(work)
        elif self._loop_may_write() and not self._gathered:
            self._gathered.append(work)
            loop.call_soon(loop.call_soon, self._write_in_loop)  # what comes with the next look at sockets joins
        else:
            self._put([work])
        return future

    @property
    def waiting(self) -> int:
        """Works that wait."""
        return len(self._waiting)

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, at most `timeout` seconds, and stop."""
        with self._wake:
            self._waiting.extend(self._gathered)
            self._gathered = []
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _put(self, works: Sequence[Work]) -> None:
        with self._wake:
            if self._closing:
                raise OverloadedError("the server is shutting down; try again", retry_after=5)
            if len(self._waiting) >= _WAITING:
                raise OverloadedError("the database cannot keep up; try again", retry_after=2)
            self._waiting.extend(works)
            self._wake.notify()

    # --- the event loop

    def _loop_may_write(self) -> bool:
        return (
            self._loop_session is not None
            and not (self._waiting or self._writing or self.failing or self._closing)
            and time.monotonic() >= self._slow_until
        )

    def _write_in_loop(self) -> None:
        """Commit what the round gathered, or leave it to the thread: in order, as everything that is written."""
        works, self._gathered = self._gathered, []
        with self._wake:
            mine = bool(works) and not (self._waiting or self._writing or self._closing)
            self._writing = self._writing or mine
            if not mine:  # already taken, so never refused; the thread writes before it closes
                self._waiting.extend(works)
                self._wake.notify()
                return
        started = time.perf_counter()
        results = self._transacted_in_loop(works)
        seconds = time.perf_counter() - started
        if results is None or seconds > _SLOW:
            self._slow_until = time.monotonic() + _SLOW_FOR
        with self._wake:
            self._writing = False
            if results is None:
                self._waiting.extendleft(reversed(works))
            if self._waiting or self._closing:
                self._wake.notify()
        if results is not None:
            _settle_all([(work.future, result) for work, result in zip(works, results, strict=True)])  # type: ignore[misc]
            self._watch(len(works), seconds)

    def _transacted_in_loop(self, works: Sequence[Work]) -> list[Any] | None:
        """None where it failed, for whatever reason."""
        session = self._loop_session
        assert session is not None  # else nothing is gathered
        try:
            results = session.transact(works, again=False)
        except Exception as error:
            log.debug("the event loop leaves a transaction to the thread: %s", cause(error))
            session.disconnect()
            return None
        self.commits += 1
        return results

    # --- the thread

    def _run(self) -> None:
        while works := self._take():
            started = time.perf_counter()
            results = self._written(works)
            if self.failing:  # what has come meanwhile need not wait as long, to be told the same
                late = self._take_all()
                works, results = works + late, results + [unavailable() for _ in late]
            _deliver(works, results)
            self._watch(len(works), time.perf_counter() - started)
            self._tidy()
            with self._wake:
                self._writing = False
        self._thread_session.disconnect()
        if self._loop_session is not None:
            self._loop_session.disconnect()

    def _watch(self, works: int, seconds: float) -> None:
        """After a transaction. Whatever fails here, what was committed has been told, and the writer goes on."""
        try:
            self.watcher(works, seconds)
        except Exception as error:
            log.warning("watching the writer failed: %s", cause(error))

    def _tidy(self) -> None:
        """As above."""
        if self.commits - self._tidied < _TIDY or not self._thread_session.connected:
            return
        self._tidied = self.commits
        try:
            self._database.bound_wal(self._thread_session.connection())
        except Exception as error:
            log.warning("tidying up after a transaction failed: %s", cause(error))

    def _take(self) -> list[Work]:
        with self._wake:
            while self._writing or not (self._waiting or self._closing):
                self._wake.wait()
            self._writing = bool(self._waiting)
            return [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]

    def _take_all(self) -> list[Work]:
        with self._wake:
            works = list(self._waiting)
            self._waiting.clear()
            return works

    def _written(self, works: Sequence[Work]) -> list[Any]:
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

    def _after_failure(self, works: Sequence[Work], error: Exception) -> list[Any]:
        """Once more if the connection broke: the first try may even have been committed."""
        broke = self._thread_session.broke
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

    def _transact(self, works: Sequence[Work], *, again: bool) -> list[Any]:
        results = self._thread_session.transact(works, again=again)
        self.commits += 1
        return results

    def _disconnect(self) -> None:
        """The next use connects anew. SQLite keeps a file it once could only read read-only."""
        self._thread_session.disconnect()
        self._database.forget_connections()


def _deliver(works: Sequence[Work], results: Sequence[Any]) -> None:
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
