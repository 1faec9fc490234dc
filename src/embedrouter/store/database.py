"""One database: SQLite in a file or PostgreSQL by URL; one connection that writes, a few that read.

SQLite runs in WAL mode, so reading never waits for writing. Every write goes through the one writer
(`embedrouter.store.writer`); readers could not write if they tried.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from embedrouter.errors import SettingsError, StoreUnavailableError
from embedrouter.settings import Durability

T = TypeVar("T")

Insert = sqlite.Insert | postgresql.Insert

READERS: Final = 4
_BUSY_MS: Final = 2_000  # how long SQLite waits for another process's lock before we answer 503
_RETRY_AFTER: Final = 2  # seconds, told to clients
_BIG_WAL: Final = 64 * 1024 * 1024  # bytes
_READ_ONLY: Final = "25006"  # PostgreSQL's code: a standby, or an administrator's choice
_WRITERS: Final = 0x6C656467  # names our advisory lock among PostgreSQL's
_CLOCK: Final = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Database:
    """Engines for writing and reading. Thread-safe but for `write_engine`, which belongs to one thread at a time."""

    def __init__(self, url: str, *, durability: Durability = "commit") -> None:
        """url: `sqlite:///path` or `postgresql://...`. Connects at first use. Raises SettingsError for a bad URL."""
        self.url = _parsed(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.durability: Durability = durability
        if self.is_sqlite:
            self.path: Path | None = Path(self.url.database or "")
            self.write_engine = _sqlite(self.url, durability, reading=False)
            self.read_engine = _sqlite(self.url, durability, reading=True)
            # Writes only if it need not wait, neither for another's lock nor for the disk.
            self.quick_engine = (
                None if durability == "durable" else _sqlite(self.url, durability, reading=False, busy_ms=0)
            )
        else:
            self.path = None
            self.write_engine = _postgresql(self.url, durability, reading=False)
            self.read_engine = _postgresql(self.url, durability, reading=True)
            self.quick_engine = None
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="embedrouter-reader")

    @property
    def name(self) -> str:
        """For people: without a password."""
        return self.url.render_as_string(hide_password=True)

    def is_failure(self, error: Exception) -> bool:
        """Whether the database is locked, full, read-only or away; the error is SQLAlchemy's or the driver's."""
        own = error.orig if isinstance(error, DBAPIError) else error
        driver = self.write_engine.dialect.loaded_dbapi
        return isinstance(own, (driver.OperationalError, driver.InterfaceError)) or (
            getattr(own, "sqlstate", None) == _READ_ONLY
        )

    def is_broken(self, connection: Connection) -> bool:
        """Whether the connection ended by itself, so that nobody knows what became of its last transaction."""
        if self.is_sqlite:
            return False
        return connection.invalidated or bool(connection.connection.dbapi_connection.closed)  # type: ignore[union-attr]

    def insert(self, table: Table) -> Insert:
        """An INSERT of this dialect, which knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """Run a query in this thread, in one snapshot. Raises StoreUnavailableError."""
        try:
            try:
                return self._queried(query)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._queried(query)  # PostgreSQL was restarted since the last time
        except DBAPIError as error:
            raise unavailable() from error

    def _queried(self, query: Callable[[Connection], T]) -> T:
        with self.read_engine.connect() as connection:
            return query(connection)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """The same in a thread that may wait. Raises StoreUnavailableError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read_now, query)

    def size_bytes(self) -> int:
        """Of SQLite's files; 0 for PostgreSQL, which has its own tools."""
        if self.path is None:
            return 0
        return _size(self.path) + _size(self.path, "-wal")

    @contextmanager
    def writing(self, connection: Connection) -> Iterator[tuple[Connection, Any]]:
        """A transaction, with the driver's own cursor in it. Nobody else writes before it ends.

        SQLite sees to that by itself. On PostgreSQL they all grow the same account's row, so they would wait for each
        other anyway; so they cannot deadlock.
        """
        cursor = connection.connection.cursor()
        if self.is_sqlite:
            # SQLAlchemy's beginning and ending takes four times as long as SQLite's.
            driver: Any = connection.connection.driver_connection
            cursor.execute("BEGIN IMMEDIATE")
            connection.info["begun"] = True  # should somebody use it inside
            try:
                yield connection, cursor
                driver.commit()
            except BaseException:
                driver.rollback()
                raise
            finally:
                del connection.info["begun"]
                if connection.in_transaction():
                    connection.rollback()
        else:
            with connection.begin():
                cursor.execute(f"SELECT pg_advisory_xact_lock({_WRITERS})")
                yield connection, cursor
        cursor.close()

    def now(self, connection: Connection) -> int:
        """Microseconds since 1970 by the one clock that all processes share."""
        if self.is_sqlite:
            return time.time_ns() // 1000
        return int(connection.exec_driver_sql(_CLOCK).scalar_one())

    def bound_wal(self, connection: Connection) -> None:
        """Under steady load SQLite's WAL never starts anew by itself: make it, between transactions, if it is big."""
        if self.path is None or _size(self.path, "-wal") < _BIG_WAL:
            return
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA busy_timeout=20")  # a reader that is slower than that: the next time, then
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            cursor.close()

    def checkpoint(self) -> None:
        """Move what SQLite's WAL gathered into the file; neither readers nor the writer wait for it."""
        if self.path is None:
            return
        try:
            with closing(self.read_engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (DBAPIError, sqlite3.Error) as error:
            raise unavailable() from error

    def forget_connections(self) -> None:
        """After a failure: the next use connects anew. SQLite keeps a file it once could only read read-only."""
        self.write_engine.dispose()
        self.read_engine.dispose()

    def close(self) -> None:
        """Close all connections; the last one to leave SQLite tidies its WAL away."""
        self._threads.shutdown()
        self.forget_connections()
        if self.quick_engine is not None:
            self.quick_engine.dispose()


def _size(path: Path, suffix: str = "") -> int:
    file = path.with_name(path.name + suffix)
    return file.stat().st_size if file.exists() else 0


def cause(error: Exception) -> str:
    """The driver's own words, on one line, for logs: without PostgreSQL's DETAIL, which shows what a row holds."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return " ".join(str(told).partition("\nDETAIL: ")[0].split()) or type(told).__name__


def unavailable(error: Exception | None = None) -> StoreUnavailableError:
    """What a failing database is told as; the cause stays inside."""
    told = StoreUnavailableError(
        "the database cannot be used at the moment; nothing was charged, try again", retry_after=_RETRY_AFTER
    )
    told.__cause__ = error
    return told


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername.partition("+")[0]]
    except (ArgumentError, KeyError, ValueError):
        raise SettingsError(
            "database_url must look like sqlite:///path/to/file.db or postgresql://user:password@host/name"
        ) from None  # the cause would show the password
    if driver != "sqlite":
        return parsed.set(drivername=driver)
    name = parsed.database or ""
    if parsed.host or not Path(name).name or name.startswith((":", "file:")):
        raise SettingsError(
            "database_url must name a file: sqlite:////var/lib/embedrouter/embedrouter.db (four strokes), or "
            "sqlite:///embedrouter.db (three) in the current folder"
        )
    return URL.create(driver, database=str(Path(name).expanduser()))


def _sqlite(url: URL, durability: Durability, *, reading: bool, busy_ms: int = _BUSY_MS) -> Engine:
    # The last connection used is the next: its pages are in its cache.
    options: dict[str, Any] = (
        {"pool_size": READERS, "pool_use_lifo": True} if reading else {"pool_size": 1, "max_overflow": 0}
    )
    options["hide_parameters"] = True  # an error that is logged shows no text, no email, no hash
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": busy_ms / 1000}, **options)
    begin = "BEGIN" if reading else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions on its own, and too late
        cursor = connection.cursor()
        with suppress(sqlite3.OperationalError):  # of a file that is read-only, which says so again when it matters
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durability == 'durable' else 'NORMAL'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-16384")
        if reading:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute("PRAGMA wal_autocheckpoint=0")  # it would stall a commit; the keeper does it beside us
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        if "begun" not in connection.info:
            connection.exec_driver_sql(begin)

    return engine


def _postgresql(url: URL, durability: Durability, *, reading: bool) -> Engine:
    # Group commit pays for the fsync; without it a killed PostgreSQL could forget what we answered.
    commit = "off" if durability == "async" else "on"
    options = f"-c synchronous_commit={commit} -c timezone=UTC -c statement_timeout=30000 -c lock_timeout=5000"
    if reading:
        options += r" -c default_transaction_read_only=on -c default_transaction_isolation=repeatable\ read"
    else:  # a process that was stopped in the middle of a transaction must not keep the others waiting for ever
        options += r" -c idle_in_transaction_session_timeout=10000 -c default_transaction_isolation=read\ committed"
    return create_engine(
        url,
        pool_size=READERS + 1 if reading else 1,  # the keeper reads, too: slow readers must not make it wait
        max_overflow=0,
        pool_pre_ping=False,
        hide_parameters=True,  # as above
        connect_args={
            "options": options,
            "connect_timeout": 5,
            "application_name": "embedrouter",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,  # milliseconds: of a network that swallows what is sent
        },
    )
