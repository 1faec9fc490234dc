"""A connection that writes: one transaction for many works."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine

from embedrouter.store.database import Database

P = TypeVar("P")
R = TypeVar("R")


class Batch(NamedTuple):
    """What a handler works with: an open transaction."""

    connection: Connection
    cursor: Any  # the driver's own, in the same transaction, for what must be quick
    database: Database
    again: bool  # an earlier try may have been committed although the connection broke: look before you add


Handler = Callable[[Batch, Sequence[P]], Sequence[R | Exception]]
"""Writes all payloads; answers with one result, or exception, for each, in order."""


class Work(NamedTuple):
    """Something to write, and who waits for it."""

    handler: Handler[Any, Any]
    payload: Any
    future: "Future[Any] | asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop | None


class Session:
    """Belongs to one thread at a time."""

    def __init__(self, database: Database, engine: Engine) -> None:
        """engine: one of the database's that write."""
        self._database = database
        self._engine = engine
        self._connection: Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, maybe broken."""
        return self._connection is not None

    @property
    def broke(self) -> bool:
        """Whether its connection ended by itself."""
        return self._connection is not None and self._database.is_broken(self._connection)

    def connection(self) -> Connection:
        """One for as long as it works: taking it from the pool for each transaction takes as long as SQL."""
        if self._connection is None or self._connection.closed or self._connection.invalidated:
            self._connection = self._engine.connect()
        return self._connection

    def transact(self, works: Sequence[Work], *, again: bool) -> list[Any]:
        """Commit all works together; the result of each. Raises what the database or a handler raises."""
        groups: dict[Handler[Any, Any], list[int]] = {}
        for index, work in enumerate(works):
            groups.setdefault(work.handler, []).append(index)
        results: list[Any] = [None] * len(works)
        with self._database.writing(self.connection()) as (connection, cursor):
            batch = Batch(connection, cursor, self._database, again)
            # Works that arrive together have no order; who gives back goes before who takes.
            for handler, indices in sorted(groups.items(), key=lambda group: getattr(group[0], "takes", False)):
                answers = handler(batch, [works[index].payload for index in indices])
                for index, answer in zip(indices, answers, strict=True):
                    results[index] = answer
        return results

    def disconnect(self) -> None:
        """Leave the connection; the next use makes another."""
        if self._connection is not None:
            with suppress(Exception):  # whatever a broken connection says to that
                self._connection.invalidate()
                self._connection.close()
            self._connection = None
