"""Starting on databases in every state: empty, older, newer, half made, not there, not a database."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text

from embedrouter.errors import EmbedRouterError, SettingsError, StoreError
from embedrouter.store import Database
from embedrouter.store.backup import backup
from embedrouter.store.migrate import SCRIPTS, check, migrate, newest, version
from embedrouter.store.place import file_system
from embedrouter.store.tables import metadata
from postgres import PostgresServer
from server import free_port

_TABLES = set(metadata.tables) | {"alembic_version"}


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def raw(database_url: str) -> Iterator[Engine]:
    """A connection of nobody's: no pragmas, no options."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def made(database_url: str) -> str:
    """The URL of a database with the schema."""
    with opened(database_url) as database:
        migrate(database)
    return database_url


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def refused(url: str, scripts: Path = SCRIPTS) -> EmbedRouterError:
    """What a start is told, checked to be one line."""
    with opened(url) as database, pytest.raises((StoreError, SettingsError)) as caught:
        migrate(database, scripts)
    assert "\n" not in caught.value.message
    return caught.value


def steps(folder: Path, body: str) -> Path:
    """Our scripts and one more step, 0003, whose `upgrade` is `body`."""
    scripts = folder / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (scripts / "versions" / "0003_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f'revision = "0003"\ndown_revision = "0002"\n\n\ndef upgrade():\n{lines}\n'
    )
    return scripts


def backups(url: str) -> list[Path]:
    path = Path(make_url(url).database or "")
    return sorted(path.parent.glob("*-before-*")) if url.startswith("sqlite") else []


# --- what a start does


def test_a_fresh_database_gets_exactly_the_tables_of_this_program(database_url: str, raw: Engine) -> None:
    with opened(database_url) as database:
        assert version(database) is None
        assert migrate(database) == newest() == version(database)
        check(database)
    with raw.connect() as connection:
        assert tables(connection) == _TABLES
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_second_start_changes_nothing_and_makes_no_backup(made: str, raw: Engine) -> None:
    run(raw, "INSERT INTO marks (name, value) VALUES ('mine', 7)")
    with opened(made) as database:
        migrate(database)
    with raw.connect() as connection:
        assert connection.execute(text("SELECT value FROM marks")).scalar_one() == 7
    assert backups(made) == []


_START = (
    "import sys; from embedrouter.store import Database; from embedrouter.store.migrate import migrate; "
    "from pathlib import Path; database = Database(sys.argv[1]); sys.stdin.read(1); "
    "migrate(database, Path(sys.argv[2])); database.close()"
)


def start_together(url: str, scripts: Path, count: int = 2) -> list[str]:
    """Processes that migrate at the same moment; what went wrong in each."""
    command = [sys.executable, "-c", _START, url, str(scripts)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    return [process.communicate(timeout=60)[1] for process in processes]


def test_of_processes_that_start_at_once_one_makes_it_and_the_others_wait(
    database_url: str, raw: Engine, tmp_path: Path
) -> None:
    assert start_together(database_url, SCRIPTS) == ["", ""]
    # A step that takes longer than any request waits for the database.
    scripts = steps(tmp_path, 'import time\ntime.sleep(2.5)\nop.create_table("later", sa.Column("id", sa.Integer()))')
    assert start_together(database_url, scripts) == ["", ""]
    with raw.connect() as connection:
        assert tables(connection) == _TABLES | {"later"}
    assert len(backups(database_url)) == (1 if database_url.startswith("sqlite") else 0)


def test_before_an_upgrade_sqlite_is_copied_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'books.db'}"
    with opened(url) as database, closing(sqlite3.connect(tmp_path / "books.db")) as other:
        migrate(database)
        other.execute("PRAGMA wal_autocheckpoint=0")
        other.execute("INSERT INTO marks (name, value) VALUES ('mine', 7)")
        other.commit()
        assert (tmp_path / "books.db-wal").stat().st_size > 0, "the copy must hold what is only in the WAL"
        migrate(database, steps(tmp_path, 'op.add_column("marks", sa.Column("note", sa.Text()))'))
    (copy,) = backups(url)
    assert copy.name.startswith("books-before-0003-")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as kept:
        assert kept.execute("SELECT value FROM marks").fetchone() == (7,)
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sorted(path.name for path in tmp_path.glob("books*")) == sorted({"books.db", copy.name}), "no litter"


# --- what stops a start


def test_a_newer_schema_stops_the_start_with_what_to_do(made: str, raw: Engine) -> None:
    run(raw, "UPDATE alembic_version SET version_num = '0999'")
    told = refused(made).message
    for words in ("0999", newest(), "Start the embedrouter that made it", "restore the backup"):
        assert words in told


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("DROP TABLE holds", "holds"),
        ("ALTER TABLE generations DROP COLUMN session_id", "generations.session_id"),
    ],
)
def test_a_version_without_its_tables_is_half_migrated(made: str, raw: Engine, damage: str, named: str) -> None:
    run(raw, damage)
    told = refused(made).message
    assert f"lacks {named}:" in told
    assert "Restore a backup" in told
    with opened(made) as database, pytest.raises(StoreError, match="half migrated"):
        check(database)


def test_tables_without_a_version_are_half_made_or_another_programs(made: str, raw: Engine) -> None:
    run(raw, "DROP TABLE alembic_version")
    assert "accounts" in refused(made).message
    run(raw, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    assert "no version" in refused(made).message


def test_two_versions_at_once_are_refused(made: str, raw: Engine) -> None:
    run(raw, "INSERT INTO alembic_version VALUES ('0000')")
    assert "0000, 0002" in refused(made).message


@pytest.mark.parametrize(
    "failing",
    [
        'op.execute("INSERT INTO nowhere VALUES (1)")',
        'raise RuntimeError("the step is wrong")',
        "op.execute(\"INSERT INTO budgets VALUES ('no such workspace', 'day', 1)\")",
    ],
)
def test_a_failing_upgrade_leaves_nothing_behind(made: str, raw: Engine, tmp_path: Path, failing: str) -> None:
    run(raw, "INSERT INTO marks (name, value) VALUES ('mine', 7)")
    body = f'op.create_table("later", sa.Column("id", sa.Integer()))\nop.execute("DELETE FROM marks")\n{failing}'
    told = refused(made, steps(tmp_path, body)).message
    assert "could not go from version 0002 to 0003; it was left as it was" in told
    with raw.connect() as connection:
        assert tables(connection) == _TABLES
        assert connection.execute(text("SELECT value FROM marks")).scalar_one() == 7
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "0002"
    with opened(made) as database:
        assert migrate(database) == "0002", "the program before the upgrade goes on"


def test_a_table_can_be_made_anew_without_its_references_being_deleted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'books.db'}"
    rename = 'with op.batch_alter_table("workspaces") as table:\n    table.add_column(sa.Column("note", sa.Text()))'
    with opened(url) as database:
        migrate(database)
        with database.write_engine.begin() as connection:
            connection.execute(text("INSERT INTO workspaces VALUES ('w', 'W', 'w', 1, '{}', 0, 0, 0)"))
            connection.execute(text("INSERT INTO budgets VALUES ('w', 'day', 1)"))
        migrate(database, steps(tmp_path, rename.replace('"workspaces"', '"workspaces", recreate="always"')))
        assert database.read_now(lambda one: one.execute(text("SELECT count(*) FROM budgets")).scalar_one()) == 1


# --- what cannot be used is told in one line


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "letter.db"
    file.write_text("Dear reader, " * 100)
    assert "file is not a database" in refused(f"sqlite:///{file}").message
    assert file.read_text().startswith("Dear reader")


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    assert "is a folder" in refused(f"sqlite:///{tmp_path}").message


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = refused(f"sqlite:///{tmp_path / 'file' / 'data' / 'books.db'}").message
    assert str(tmp_path / "file") in told
    assert "--data-dir" in told


def test_a_folder_that_may_not_be_written_is_told() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)  # root may write everywhere
        try:
            told = refused(f"sqlite:///{folder}/books.db").message
        finally:
            os.seteuid(before)
        assert "Permission denied" in told
        assert folder in told
        Path(folder).chmod(0o755)


def test_a_postgresql_that_is_not_there_is_told_without_the_password() -> None:
    told = refused(f"postgresql://books:s3cret-word@127.0.0.1:{free_port()}/books").message
    assert "refused" in told
    assert "s3cret-word" not in told


def test_a_wrong_password_is_told_without_it(postgres: PostgresServer, postgres_url: str) -> None:
    rules = postgres.data_dir / "pg_hba.conf"
    before = rules.read_text()
    run_sql = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    try:
        run(run_sql, "CREATE ROLE books LOGIN PASSWORD 'right'")
        rules.write_text("host all books 127.0.0.1/32 scram-sha-256\n" + before)
        run(run_sql, "SELECT pg_reload_conf()")
        url = make_url(postgres_url).set(drivername="postgresql", username="books", password="s3cret-word")
        told = refused(url.render_as_string(hide_password=False)).message
        assert "password authentication failed" in told
        assert "s3cret-word" not in told
    finally:
        rules.write_text(before)
        run(run_sql, "SELECT pg_reload_conf()", "DROP ROLE books")
        run_sql.dispose()


# --- URLs


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_every_way_to_spell_postgresql_works(postgres_url: str, scheme: str) -> None:
    with opened(make_url(postgres_url).set(drivername=scheme).render_as_string(hide_password=False)) as database:
        assert version(database) is None


def test_a_relative_file_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened("sqlite:///here.db") as database:
        migrate(database)
    assert stat.S_IMODE((tmp_path / "here.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "url",
    [
        "", "books.db", "mysql://books:s3cret@host/x", "sqlite://", "sqlite:///", "sqlite:///:memory:",
        "sqlite://books.db", "sqlite:///file:books.db?mode=memory", "postgresql://books:s3cret@host:port/x",
    ],
)  # fmt: skip
def test_an_unknown_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(SettingsError, match="database_url must") as caught:
        Database(url)
    assert "s3cret" not in caught.value.message
    assert caught.value.__cause__ is None, "a traceback would show the password"


def test_the_name_for_people_has_no_password() -> None:
    with opened("postgresql://books:s3cret@host/x") as database:
        assert "s3cret" not in database.name


# --- backups and places


def test_a_backup_is_the_state_of_one_moment_and_never_replaces_a_file(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'books.db'}") as database:
        migrate(database)
        target = tmp_path / "safe" / "copy.db"
        assert backup(database, target) == target
        with pytest.raises(SettingsError, match="exists"):
            backup(database, target)
    assert [path.name for path in target.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_damaged_database_is_not_copied(tmp_path: Path) -> None:
    file = tmp_path / "books.db"
    with opened(f"sqlite:///{file}") as database:
        migrate(database)
    content = bytearray(file.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\xa5" * (4096 * 3)
    file.write_bytes(content)
    with opened(f"sqlite:///{file}") as database, pytest.raises((StoreError, SettingsError), match="damaged|malformed"):
        backup(database, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.glob("copy*")] == []


def test_the_file_system_is_told_by_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /home rw,relatime shared:1 - nfs4 server:/home rw\n"
        "31 30 8:2 / /home/fast\\040disk rw - xfs /dev/sdb1 rw\n"
    )
    for folder, kind in {"/var/lib": "ext4", "/home/me": "nfs4", "/home/fast disk/x": "xfs", "/homes": "ext4"}.items():
        assert file_system(Path(folder), mounts) == kind
    assert file_system(tmp_path, tmp_path / "missing") == ""


def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 45."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"30 22 0:40 / {tmp_path} rw,relatime - nfs4 server:/home rw\n")
    monkeypatch.setattr("embedrouter.store.place._MOUNTS", mounts)
    told = refused(f"sqlite:///{tmp_path / 'books.db'}").message
    assert "nfs4" in told
    assert "--database-url" in told
    assert not (tmp_path / "books.db").exists()


def test_postgresqls_readers_cannot_write_and_see_one_snapshot(postgres_url: str) -> None:
    with opened(postgres_url) as database:
        migrate(database)
        with database.read_engine.connect() as reader:
            assert reader.execute(text("SELECT count(*) FROM marks")).scalar_one() == 0
            with database.write_engine.begin() as writer:
                writer.execute(text("INSERT INTO marks VALUES ('new', 1)"))
            assert reader.execute(text("SELECT count(*) FROM marks")).scalar_one() == 0
            with pytest.raises(Exception, match="read-only"):
                reader.execute(text("INSERT INTO marks VALUES ('mine', 1)"))
