"""Bringing a database to this program's schema: all steps in one transaction, after a backup where it is a file."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from embedrouter.errors import SettingsError, StoreError
from embedrouter.store.backup import backup, beside
from embedrouter.store.batch_tables import metadata
from embedrouter.store.database import Database, cause
from embedrouter.store.place import prepare

log = logging.getLogger(__name__)

SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x656D6265  # names our advisory lock among PostgreSQL's
_PATIENCE_MS: Final = 120_000  # for another process that upgrades


def migrate(database: Database, scripts: Path = SCRIPTS) -> str:
    """Create or upgrade the schema; returns its version. Several processes may try at once: one does it.

    Raises StoreError if the schema is newer than this program or half there or an upgrade fails, which changes nothing;
    SettingsError if the database cannot be used.
    """
    script = _scripts(scripts)
    head = str(script.get_current_head())
    if database.path is not None:
        prepare(database.path)
    with _reaching(database), _alone(database) as connection:
        current = _checked_version(connection, script)
        if current != head:
            # Under the lock: no other process changes the file meanwhile, or makes a second backup.
            if current is not None and database.path is not None:
                backup(database, beside(database.path, f"before-{head}"))
            log.info("the database goes from version %s to %s", current or "none", head)
            _upgrade(connection, script, current, head)
        _require_complete(connection, head)
    return head


def newest(scripts: Path = SCRIPTS) -> str:
    """The version of the schema that this program works with."""
    return str(_scripts(scripts).get_current_head())


def version(database: Database, scripts: Path = SCRIPTS) -> str | None:
    """The schema's version; None where there is none yet, and no file is made. Raises StoreError, SettingsError."""
    if database.path is not None and not database.path.exists():
        return None
    with _reaching(database), database.read_engine.connect() as connection:
        return _checked_version(connection, _scripts(scripts))


def check(database: Database, scripts: Path = SCRIPTS) -> None:
    """Raise StoreError unless the schema is wholly there in this program's version; SettingsError."""
    script = _scripts(scripts)
    head = str(script.get_current_head())
    with _reaching(database), database.read_engine.connect() as connection:
        current = _checked_version(connection, script)
        if current != head:
            raise StoreError(
                f"the database has version {current or 'none'}, this program's is {head}: run embedrouter db migrate"
            )
        _require_complete(connection, head)


@contextmanager
def _reaching(database: Database) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise SettingsError(f"cannot use the database {database.name}: {cause(error)}") from error


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """A transaction beside which no other process migrates. It waits for one that does."""
    try:
        with database.write_engine.connect() as connection:
            if database.is_sqlite:  # inside a transaction the second changes nothing
                cursor = connection.connection.cursor()
                cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
                # SQLite changes a table by making it anew; dropping the old one would cascade. Checked at the end.
                cursor.execute("PRAGMA foreign_keys=OFF")
                cursor.close()
            with connection.begin():
                if not database.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                yield connection
    finally:
        database.forget_connections()


def _scripts(folder: Path) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _checked_version(connection: Connection, script: ScriptDirectory) -> str | None:
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise StoreError(f"the database says it has several versions, {', '.join(sorted(heads))}: restore a backup")
    if not heads:
        ours = set(inspect(connection).get_table_names()) & set(metadata.tables)
        if ours:
            raise StoreError(
                f"the database has tables named as embedrouter's ({', '.join(sorted(ours)[:3])}, ...) but no version: "
                f"it is half made, or another program's. Restore a backup, or name an empty database"
            )
        return None
    known = {str(revision.revision) for revision in script.walk_revisions()}
    if heads[0] not in known:
        raise StoreError(
            f"the database's version {heads[0]} is newer than this program knows ({script.get_current_head()}). "
            f"Start the embedrouter that made it, or restore the backup that was made before the upgrade"
        )
    return str(heads[0])


def _require_complete(connection: Connection, head: str) -> None:
    found = inspect(connection)
    missing = sorted(set(metadata.tables) - set(found.get_table_names()))
    for table in metadata.tables.values():
        if table.name not in missing:
            columns = {column["name"] for column in found.get_columns(table.name)}
            missing += [f"{table.name}.{column.name}" for column in table.columns if column.name not in columns]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise StoreError(
            f"the database says it has version {head} but lacks {', '.join(missing[:3])}{more}: it is half migrated. "
            f"Restore a backup"
        )


def _upgrade(connection: Connection, script: ScriptDirectory, current: str | None, head: str) -> None:
    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(head, revision)

    try:
        with EnvironmentContext(Config(), script, fn=steps) as environment:
            environment.configure(connection=connection, target_metadata=metadata)
            environment.run_migrations()
        if connection.dialect.name == "sqlite":
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if broken is not None:
                raise StoreError(f"a row of {broken[0]} refers to one of {broken[2]} that is not there")
    except Exception as error:  # whatever a step raises, nothing of it may stay
        what = f"from version {current} to {head}" if current else f"to version {head}"
        told = error.message if isinstance(error, StoreError) else cause(error)
        raise StoreError(f"the database could not go {what}; it was left as it was: {told}") from error
