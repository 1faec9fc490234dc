"""embedrouter db: what the database is, and bringing it to this program's schema."""

from typing import TYPE_CHECKING

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    facts,
    say,
    show,
    told,
)
from embedrouter.cli.store import found
from embedrouter.periods import iso

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from embedrouter.store import Database

app = typer.Typer(help="The database: what is in it, and its schema's version.", no_args_is_help=True)


class Status(msgspec.Struct, frozen=True):
    """A database: sizes in bytes, rows by table, times as ISO 8601. The URL has no password."""

    url: str
    version: str
    newest_version: str
    bytes: int
    rows: dict[str, int]
    oldest_generation: str | None
    newest_generation: str | None


class Version(msgspec.Struct, frozen=True):
    """The schema's version and the one this program works with."""

    version: str | None
    newest_version: str


@app.command()
def status(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where it is, its version, its size, what is in it. Changes nothing."""
    with told():
        from embedrouter.store.migrate import check, newest, version

        with found(config, data_dir, database_url) as store:
            check(store.database)
            shown = store.read(_status, store.database, version(store.database), newest())
        show(shown, as_json, lambda: _print(shown))


@app.command()
def migrate(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the database, or upgrade it; SQLite's file is copied before. `serve` does the same at its start."""
    with told():
        from embedrouter.store.migrate import migrate, newest

        with found(config, data_dir, database_url, must_exist=False) as store:
            shown = Version(migrate(store.database), newest())
            name = store.database.name
        show(shown, as_json, lambda: say(f"{name} has version {shown.version}"))


@app.command("version")
def version_(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """The schema's version, and this program's. Changes nothing."""
    with told():
        from embedrouter.store.migrate import newest, version

        with found(config, data_dir, database_url) as store:
            shown = Version(version(store.database), newest())
        show(shown, as_json, lambda: facts([("database", shown.version), ("program", shown.newest_version)]))


def _status(connection: "Connection", database: "Database", version: str, newest: str) -> Status:
    from sqlalchemy import func, select

    from embedrouter.store.health import rows, size_bytes
    from embedrouter.store.tables import generations

    at = generations.c.created_at
    oldest, latest = connection.execute(select(func.min(at), func.max(at))).one()
    return Status(
        database.name,
        version,
        newest,
        size_bytes(database, connection),
        {one.table: one.rows for one in rows(connection)},
        None if oldest is None else iso(oldest),
        None if latest is None else iso(latest),
    )


def _print(shown: Status) -> None:
    facts(
        [
            ("database", shown.url),
            ("version", shown.version),
            ("size", f"{shown.bytes / 1_048_576:,.1f} MiB"),
            ("generations from", shown.oldest_generation),
            ("generations to", shown.newest_generation),
            *((f"rows of {name}", f"{count:,}") for name, count in shown.rows.items()),
        ]
    )
