"""embedrouter backup: a copy of SQLite's file while it is in use."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    say,
    show,
    told,
)
from embedrouter.cli.store import found


class Copy(msgspec.Struct, frozen=True):
    """What was copied where."""

    database: str
    backup: str
    bytes: int


def backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            help="A file that is not there yet; else one in backups/ of the data folder.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the database, consistent also while a server writes. For PostgreSQL it tells the command of pg_dump."""
    with told():
        from embedrouter.store.backup import backup as copy

        with found(config, data_dir, database_url) as store:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            chosen = target or store.settings.data_dir / "backups" / f"embedrouter-{stamp}.db"
            made = copy(store.database, chosen.expanduser().absolute())
            shown = Copy(store.database.name, str(made), made.stat().st_size)
        show(shown, as_json, lambda: say(shown.backup))
