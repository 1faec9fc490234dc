"""How commands come to the database: directly, beside a server that may be running on it."""

import getpass
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from embedrouter.errors import SettingsError
from embedrouter.settings import Settings, load

if TYPE_CHECKING:  # what takes long to import, the commands import when they run
    from sqlalchemy import Connection

    from embedrouter.store import Database, Writer
    from embedrouter.store.session import Handler

P = TypeVar("P")
R = TypeVar("R")


class Opened(NamedTuple):
    """A database with this program's schema."""

    settings: Settings
    database: "Database"

    def read(self, query: Any, *arguments: Any) -> Any:
        """What `query(connection, *arguments)` gives, in one snapshot."""

        def asked(connection: "Connection") -> Any:
            return query(connection, *arguments)

        return self.database.read_now(asked)


class Writing(NamedTuple):
    """The same, with a writer."""

    opened: Opened
    writer: "Writer"

    def write(self, handler: "Handler[P, R]", payload: P) -> R:
        """Have it written. Raises what the handler answers with."""
        return self.writer.submit(handler, payload).result()


@contextmanager
def reading(config: Path | None, data_dir: Path | None, database_url: str | None) -> Iterator[Opened]:
    """The database, upgraded if it is older. Raises SettingsError where there is none: none is made."""
    from embedrouter.store.migrate import migrate

    with found(config, data_dir, database_url) as opened:
        migrate(opened.database)
        yield opened


@contextmanager
def writing(
    config: Path | None, data_dir: Path | None, database_url: str | None, *, make: bool = False
) -> Iterator[Writing]:
    """The same with a writer. make: a database that is not there yet is made."""
    from embedrouter.accounts.first import furnish
    from embedrouter.ledger.book import now
    from embedrouter.store import Writer
    from embedrouter.store.migrate import migrate

    with found(config, data_dir, database_url, must_exist=not make) as opened:
        migrate(opened.database)
        writer = Writer(opened.database)
        try:
            ready = Writing(opened, writer)
            ready.write(furnish, now())
            yield ready
        finally:
            writer.close()


@contextmanager
def found(
    config: Path | None, data_dir: Path | None, database_url: str | None, *, must_exist: bool = True
) -> Iterator[Opened]:
    """The database as it is. Raises SettingsError where must_exist and it is not there."""
    from embedrouter.store import Database
    from embedrouter.store.migrate import version

    logging.getLogger("embedrouter").addHandler(logging.NullHandler())  # what goes wrong is told once, by the command
    flags: Mapping[str, Any] = {"data_dir": data_dir, "database_url": database_url}
    settings = load(flags, os.environ, config)
    database = Database(settings.database)
    try:
        if must_exist and version(database) is None:
            what = f"there is no database {database.path}" if database.path else f"{database.name} is empty"
            raise SettingsError(f"{what}: embedrouter serve, keys create or db migrate makes one")
        yield Opened(settings, database)
    finally:
        database.close()


def actor() -> str:
    """Who runs the command, for the ledger."""
    try:
        return f"cli:{getpass.getuser()}"[:200]
    except (KeyError, OSError):  # a container's user without a name
        return f"cli:uid-{os.getuid()}"
