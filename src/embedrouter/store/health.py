"""How a database is as a file or a server, whatever its rows mean."""

import shutil
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DatabaseError, OperationalError

from embedrouter.store.batch_tables import metadata
from embedrouter.store.database import Database, cause

MIB: Final = 1024 * 1024
BIG_WAL: Final = 256 * MIB  # bytes; four times what the writer lets it grow to
LITTLE_SPACE: Final = 512 * MIB  # bytes


class Rows(NamedTuple):
    """Of one table."""

    table: str
    rows: int


def rows(connection: Connection) -> list[Rows]:
    """Of every table, by name."""
    return [
        Rows(table.name, int(connection.execute(select(func.count()).select_from(table)).scalar_one()))
        for table in sorted(metadata.tables.values(), key=lambda table: table.name)
    ]


def size_bytes(database: Database, connection: Connection) -> int:
    """Of the files, or of PostgreSQL's database."""
    if database.is_sqlite:
        return database.size_bytes()
    return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def damages(connection: Connection) -> list[str]:
    """What SQLite's own checks find: pages, indexes, references between rows. PostgreSQL is not asked."""
    if connection.dialect.name != "sqlite":
        return []
    found: list[str] = []
    try:
        found += [str(line) for line in connection.exec_driver_sql("PRAGMA integrity_check(100)").scalars()]
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(100)
        found += [f"row {row[1]} of {row[0]} refers to one of {row[2]} that is not there" for row in broken]
    except DatabaseError as error:
        if isinstance(error, OperationalError):  # it cannot be read now, which says nothing about its pages
            raise
        found.append(cause(error))
    return [line for line in found if line != "ok"]


def warnings(database: Database) -> list[str]:
    """What is not wrong yet: a WAL that grows, a disk that fills up. SQLite only."""
    if database.path is None:
        return []
    found = []
    wal = database.path.with_name(database.path.name + "-wal")
    if wal.exists() and wal.stat().st_size > BIG_WAL:
        found.append(
            f"{wal} has {wal.stat().st_size // MIB:,} MiB: a reader holds on to an old state, or no server runs that "
            f"would shorten it"
        )
    free = shutil.disk_usage(database.path.parent).free
    if free < LITTLE_SPACE:
        found.append(f"{free // MIB:,} MiB are free where the database is: make room before it is full")
    return found
