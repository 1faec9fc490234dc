"""Bringing a database to this program's schema: all steps in one transaction, after a backup where it is a file."""

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from embedrouter.errors import SettingsError, StoreError
from embedrouter.store.database import Database, cause
from embedrouter.store.tables import metadata

log = logging.getLogger(__name__)

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x656D6265  # names our advisory lock among PostgreSQL's


def migrate(database: Database) -> str:
    """Create or upgrade the schema; returns its version. Several processes may try at once: one does it.

    Raises StoreError if the schema is newer than this program or half there, SettingsError if it cannot be reached.
    """
    script = _scripts()
    head = str(script.get_current_head())
    try:
        if database.path is not None:
            _make_folder(database.path)
            if database.path.exists() and _version_of(database) not in (None, head):
                backup(database, _backup_path(database.path))
        with database.write_engine.begin() as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            current = _checked_version(connection, script)
            if current != head:
                log.info("the database goes from version %s to %s", current or "none", head)
                _upgrade(connection, script, head)
            _require_complete(connection, head)
    except DBAPIError as error:
        raise SettingsError(f"cannot use the database {database.name}: {cause(error)}") from error
    return head


def version(database: Database) -> str | None:
    """The schema's version, None for an empty database. Raises StoreError, SettingsError."""
    try:
        return _version_of(database)
    except DBAPIError as error:
        raise SettingsError(f"cannot use the database {database.name}: {cause(error)}") from error


def backup(database: Database, target: Path) -> Path:
    """A consistent copy of a SQLite database that others may be writing to; for PostgreSQL there is pg_dump.

    The copy appears under its name only when it is whole. Raises SettingsError.
    """
    if database.path is None:
        raise SettingsError("a PostgreSQL database is backed up with its own tool: pg_dump")
    if target.exists():
        raise SettingsError(f"{target} exists; name a file that does not")
    scratch = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database.path)) as source, closing(sqlite3.connect(scratch)) as copy:
            source.backup(copy, pages=4096, sleep=0.0)
            if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise StoreError(f"{database.path} is damaged: its copy fails SQLite's check")
        scratch.chmod(0o600)
        scratch.replace(target)
    except (OSError, sqlite3.Error) as error:
        scratch.unlink(missing_ok=True)
        raise SettingsError(f"cannot back up {database.path} to {target}: {error}") from error
    log.info("backed up the database to %s", target)
    return target


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _version_of(database: Database) -> str | None:
    with database.write_engine.connect() as connection:
        return _checked_version(connection, _scripts())


def _checked_version(connection: Connection, script: ScriptDirectory) -> str | None:
    heads = MigrationContext.configure(connection).get_current_heads()
    if not heads:
        ours = set(inspect(connection).get_table_names()) & set(metadata.tables)
        if ours:
            raise StoreError(
                f"the database has tables of embedrouter ({', '.join(sorted(ours)[:3])}, ...) but no version: "
                f"it is half made. Restore a backup, or name an empty database"
            )
        return None
    try:
        script.get_revision(heads[0])
    except CommandError as error:
        raise StoreError(
            f"the database's version {heads[0]} is newer than this program knows. Start the embedrouter that made it, "
            f"or restore the backup that was made before the upgrade"
        ) from error
    return str(heads[0])


def _require_complete(connection: Connection, head: str) -> None:
    found = inspect(connection)
    missing = sorted(set(metadata.tables) - set(found.get_table_names()))
    for table in metadata.tables.values():
        if table.name not in missing:
            columns = {column["name"] for column in found.get_columns(table.name)}
            missing += [f"{table.name}.{column.name}" for column in table.columns if column.name not in columns]
    if missing:
        raise StoreError(
            f"the database says it has version {head} but lacks {', '.join(missing[:3])}: it is half migrated. "
            f"Restore a backup"
        )


def _upgrade(connection: Connection, script: ScriptDirectory, head: str) -> None:
    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(head, revision)

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=metadata)
        environment.run_migrations()


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)  # keys' digests and usage are nobody else's business
    except OSError as error:
        raise SettingsError(
            f"cannot write to the data folder {path.parent}: {error.strerror}; name another with --data-dir"
        ) from error


def _backup_path(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return path.with_name(f"{path.stem}-before-upgrade-{stamp}{path.suffix}")
