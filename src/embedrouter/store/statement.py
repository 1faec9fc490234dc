"""Statements of the hot path: written with SQLAlchemy, compiled once a dialect, run by the driver's own cursor.

Building a statement anew costs SQLAlchemy ten times what SQLite needs to run it, and its execution three times.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import Insert, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

from embedrouter.store.session import Batch

Into = Callable[[Table], "sqlite.Insert | postgresql.Insert"]
"""Gives the dialect's own INSERT, which knows ON CONFLICT."""


_VARIABLES: Final = 32_000  # that a statement of SQLite may have, or a few more


class _Compiled(NamedTuple):
    sql: str
    order: tuple[str, ...] | None  # names of positional parameters; None where they go by name
    constants: dict[str, Any]  # parameters whose values are part of the statement
    columns: tuple[str, ...]  # of an INSERT


class Statement:
    """A statement whose values all are named parameters."""

    def __init__(self, build: Callable[[Into], UpdateBase | Select[Any]]) -> None:
        """build: makes the statement for one dialect. An INSERT takes a value for every column of its table."""
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def run(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run it for one row or more, given as {parameter or column: value}; how many rows it changed."""
        found = self._for(batch)
        whole = [{**found.constants, **row} for row in rows] if found.constants else rows
        if found.order is not None:
            values: Any = [tuple([row[name] for name in found.order]) for row in whole]
        else:
            values = [dict(row) for row in whole]
        cursor = batch.cursor
        if len(values) == 1:
            cursor.execute(found.sql, values[0])
        else:
            cursor.executemany(found.sql, values)
        return int(cursor.rowcount)

    def add(self, batch: Batch, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run an INSERT for rows given as tuples, in the order of the table's columns."""
        found = self._for(batch)
        if found.order is None:
            batch.cursor.executemany(found.sql, [dict(zip(found.columns, row, strict=True)) for row in rows])
            return
        # One statement for many rows: SQLite's driver gives the interpreter away for each, and waits to have it back.
        one = f"({', '.join('?' * len(found.columns))})"
        size = _VARIABLES // len(found.columns)
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            sql = found.sql.replace(one, ", ".join([one] * len(some)), 1)
            batch.cursor.execute(sql, tuple(chain.from_iterable(some)))

    def row(self, batch: Batch, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row that a SELECT gives."""
        self.run(batch, [parameters])
        found = batch.cursor.fetchone()
        return None if found is None else tuple(found)

    def _for(self, batch: Batch) -> _Compiled:
        dialect = batch.connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            statement = self._build(batch.database.insert)
            columns = list(statement.table.columns.keys()) if isinstance(statement, Insert) else None
            compiled = statement.compile(dialect=dialect, column_keys=columns)
            order = tuple(compiled.positiontup) if compiled.positiontup is not None else None
            constants = {
                name: value
                for name, value in compiled.params.items()
                if value is not None and name not in (columns or ())
            }
            found = _Compiled(str(compiled), order, constants, tuple(columns or ()))
            self._compiled[dialect.name] = found
        return found


class Removal:
    """DELETE of rows by their ids, telling what was there."""

    def __init__(self, table: Table, *told: str) -> None:
        """told: the columns to return."""
        self._sql = f"DELETE FROM {table.name} WHERE id IN (%) RETURNING {', '.join(told)}"  # noqa: S608 (our own names)

    def run(self, batch: Batch, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        """The told columns of the rows that were there."""
        if not ids:
            return []
        mark = "?" if batch.database.is_sqlite else "%s"
        batch.cursor.execute(self._sql.replace("%", ", ".join([mark] * len(ids))), tuple(ids))
        return list(batch.cursor.fetchall())


@contextmanager
def savepoint(batch: Batch) -> Iterator[Callable[[], None]]:
    """What is written inside can be undone by calling what is given."""
    cursor = batch.cursor
    cursor.execute("SAVEPOINT inner_one")
    yield lambda: cursor.execute("ROLLBACK TO SAVEPOINT inner_one")
    cursor.execute("RELEASE SAVEPOINT inner_one")
