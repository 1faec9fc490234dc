"""Copies of a SQLite database that others may be writing to."""

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from embedrouter.errors import SettingsError, StoreError
from embedrouter.store.database import Database

log = logging.getLogger(__name__)


def backup(database: Database, target: Path) -> Path:
    """A consistent copy in one file, for its owner only; for PostgreSQL there is pg_dump.

    The copy appears under its name only when it is whole and passes SQLite's check. Raises SettingsError, StoreError.
    """
    source = database.path
    if source is None:
        raise SettingsError(f"a PostgreSQL database is backed up with its own tool: {dump_command(database)}")
    if not source.is_file():
        raise SettingsError(f"there is no database {source}")
    if target.exists():
        raise SettingsError(f"{target} exists; name a file that does not")
    scratch = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.unlink(missing_ok=True)
        scratch.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(scratch)) as copy:
            original.backup(copy, pages=-1)  # in one step: in several, it would start anew after each write of others
            if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise StoreError(f"{source} is damaged: its copy fails SQLite's check")
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, that can be copied on
        scratch.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"cannot back up {source} to {target}: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    log.info("backed up the database to %s", target)
    return target


class Copy(NamedTuple):
    """A copy in a folder."""

    path: Path
    at: float  # Unix seconds of its last change
    size_bytes: int


def newest(folder: Path) -> Copy | None:
    """The copy that was made last, if there is one that can be looked at."""
    try:
        found = [(path, path.stat()) for path in folder.glob("*.db")]
    except OSError:
        return None
    copies = [Copy(path, stat.st_mtime, stat.st_size) for path, stat in found]
    return max(copies, key=lambda copy: copy.at, default=None)


def beside(path: Path, what: str) -> Path:
    """A name for a copy beside a database, with the time in UTC, that nothing has yet."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    wanted = path.with_name(f"{path.stem}-{what}-{stamp}{path.suffix}")
    number = 1
    while wanted.exists():
        number += 1
        wanted = path.with_name(f"{path.stem}-{what}-{stamp}-{number}{path.suffix}")
    return wanted


def dump_command(database: Database) -> str:
    """The command that backs a PostgreSQL database up; without the password, which PGPASSWORD or ~/.pgpass gives."""
    url = database.url.set(drivername="postgresql", password=None).render_as_string()
    return f"pg_dump --format=custom --file=embedrouter.dump '{url}'"
