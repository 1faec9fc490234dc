"""How the installation is, for administrators: sizes, ages, processes."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from embedrouter.ledger.book import DEAD_AFTER
from embedrouter.ledger.doctor import PRUNED, USAGE_PRUNED, pruned_until
from embedrouter.store import Database, Writer
from embedrouter.store.health import Rows, rows, size_bytes
from embedrouter.store.tables import generations, holds, instances


class Process(NamedTuple):
    """A gateway process that uses the database."""

    id: str
    host: str
    pid: int
    started_at: int  # microseconds
    seen_at: int  # microseconds
    alive: bool  # seen lately
    holds: int  # reserved money of requests under way


class WriterState(NamedTuple):
    """This process's writer."""

    waiting: int  # works
    failing: bool  # the last transaction could not be had
    commits: int  # since the start


class System(NamedTuple):
    """How the database is."""

    kind: str  # sqlite, postgresql
    version: str  # the database's own
    size_bytes: int
    oldest_generation: int | None  # microseconds
    newest_generation: int | None
    generations_pruned_until: int  # microseconds; 0: none were removed yet
    usage_pruned_until: int
    processes: tuple[Process, ...]


def system(connection: Connection, database: Database, at: int) -> System:
    """at: now, in microseconds, by the database's clock or near it."""
    created = generations.c.created_at
    oldest = connection.execute(select(func.min(created))).scalar_one()
    newest = connection.execute(select(func.max(created))).scalar_one()
    return System(
        kind=connection.dialect.name,
        version=_version(connection),
        size_bytes=size_bytes(database, connection),
        oldest_generation=oldest,
        newest_generation=newest,
        generations_pruned_until=pruned_until(connection, PRUNED),
        usage_pruned_until=pruned_until(connection, USAGE_PRUNED),
        processes=processes(connection, at),
    )


def table_rows(connection: Connection) -> tuple[Rows, ...]:
    """Of every table by name: SQLite counts, for which a million takes it a tenth of a second; PostgreSQL estimates."""
    return tuple(rows(connection) if connection.dialect.name == "sqlite" else _estimated(connection))


def processes(connection: Connection, at: int) -> tuple[Process, ...]:
    """The oldest first. at: now, in microseconds."""
    query = (
        select(instances, func.count(holds.c.id).label("holds"))
        .join_from(instances, holds, holds.c.instance_id == instances.c.id, isouter=True)
        .group_by(*instances.c)
        .order_by(instances.c.started_at, instances.c.id)
    )
    return tuple(
        Process(row.id, row.host, row.pid, row.started_at, row.seen_at, row.seen_at >= at - DEAD_AFTER, row.holds)
        for row in connection.execute(query)
    )


def writer_state(writer: Writer) -> WriterState:
    """Now."""
    return WriterState(writer.waiting, writer.failing, writer.commits)


def _version(connection: Connection) -> str:
    query = "SELECT sqlite_version()" if connection.dialect.name == "sqlite" else "SHOW server_version"
    return str(connection.execute(text(query)).scalar_one())


def _estimated(connection: Connection) -> list[Rows]:
    """As its statistics have it; 0 where it has not looked yet."""
    found = connection.execute(
        text("SELECT relname, n_live_tup FROM pg_stat_user_tables WHERE schemaname = current_schema() ORDER BY relname")
    )
    return [Rows(row[0], int(row[1])) for row in found if row[0] != "alembic_version"]
