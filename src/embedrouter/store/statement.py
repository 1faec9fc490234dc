"""Statements of the hot path: written with SQLAlchemy, compiled once a dialect, run by the driver's own cursor.

Building a statement anew costs SQLAlchemy ten times what SQLite needs to run it, and its execution three times.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

from embedrouter.store.writer import Batch

Into = Callable[[Table], "sqlite.Insert | postgresql.Insert"]
"""Gives the dialect's own INSERT, which knows ON CONFLICT."""


class _Compiled(NamedTuple):
    sql: str
    order: tuple[str, ...] | None  # names of positional parameters; None where they go by name
    constants: dict[str, Any]  # parameters whose values are part of the statement


class Statement:
    """An INSERT, UPDATE or DELETE whose values all are named parameters."""

    def __init__(self, build: Callable[[Into], UpdateBase]) -> None:
        """build: makes the statement for one dialect. An INSERT takes a value for every column of its table."""
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def run(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run it for one row or more, given as {parameter or column: value}; how many rows it changed."""
        dialect = batch.connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            statement = self._build(batch.database.insert)
            columns = list(statement.table.columns.keys()) if isinstance(statement, Insert) else None
            compiled = statement.compile(dialect=dialect, column_keys=columns)
            order = tuple(compiled.positiontup) if compiled.positiontup is not None else None
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            found = self._compiled[dialect.name] = _Compiled(str(compiled), order, constants)
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
