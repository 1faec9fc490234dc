import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from cli.commands import Commands
from embedrouter.store.migrate import newest
from server import cli


def test_migrate_makes_the_database_and_a_second_time_changes_nothing(commands: Commands) -> None:
    for _ in range(2):
        assert commands.json("db", "migrate") == {"version": newest(), "newest_version": newest()}
    assert commands.json("db", "version") == {"version": newest(), "newest_version": newest()}


def test_status_tells_size_rows_and_age(here: Commands) -> None:
    here.json("keys", "create", "--name", "x")
    found = here.json("db", "status")
    assert found["version"] == newest()
    assert found["bytes"] > 10_000
    assert (found["rows"]["api_keys"], found["rows"]["generations"]) == (1, 0)
    assert (found["oldest_generation"], found["newest_generation"]) == (None, None)
    assert "rows of api_keys" in here("db", "status").stdout


def test_no_command_shows_the_databases_password(tmp_path: Path, postgres_url: str) -> None:
    url = make_url(postgres_url).set(password="s3cret-word").render_as_string(hide_password=False)
    commands = Commands(tmp_path, url)
    for arguments in (
        ["db", "version"], ["keys", "create", "--name", "x"], ["db", "migrate"], ["db", "status"], ["backup"],
        ["doctor", "--json"], ["keys", "list"],
    ):  # fmt: skip
        done = commands(*arguments)
        assert "s3cret-word" not in done.stdout + done.stderr


def test_looking_makes_no_database(commands: Commands) -> None:
    for command in (["db", "status"], ["db", "version"], ["backup"], ["doctor"]):
        assert "embedrouter serve, keys create or db migrate makes one" in commands(*command).refusal()
    assert list(commands.folder.iterdir()) == []


def test_a_newer_schema_stops_every_command_but_version(here: Commands) -> None:
    engine = create_engine(here.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    for arguments in (["keys", "list"], ["credits", "add", "1", "--reason", "x"], ["db", "status"], ["db", "migrate"]):
        assert "0999 is newer" in here(*arguments).refusal()


def test_a_backup_is_a_whole_database_for_its_owner(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "data", f"sqlite:///{tmp_path / 'books.db'}")
    commands.json("keys", "create", "--name", "saved")
    made = commands.json("backup")
    copy = Path(made["backup"])
    assert copy.parent == tmp_path / "data" / "backups"
    assert (stat.S_IMODE(copy.stat().st_mode), copy.stat().st_size) == (0o600, made["bytes"])
    restored = Commands(tmp_path, f"sqlite:///{copy}")
    assert [key["name"] for key in restored.json("keys", "list")] == ["saved"]
    named = tmp_path / "elsewhere" / "mine.db"
    assert commands("backup", str(named)).stdout == f"{named}\n"
    assert "exists" in commands("backup", str(named)).refusal()


def test_postgresqls_backup_is_told(tmp_path: Path, postgres_url: str) -> None:
    commands = Commands(tmp_path, postgres_url)
    commands("db", "migrate")
    told = commands("backup").refusal()
    assert "pg_dump --format=custom" in told
    assert str(make_url(postgres_url).database) in told


def test_a_locked_database_is_told_with_its_cause(tmp_path: Path) -> None:
    commands = Commands(tmp_path, f"sqlite:///{tmp_path / 'books.db'}")
    commands("db", "migrate")
    with closing(sqlite3.connect(tmp_path / "books.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in commands("db", "status").refusal()


def test_the_console_script_prints_one_document_and_nothing_else(tmp_path: Path) -> None:
    done = cli("db", "migrate", "--json", data_dir=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["version"] == newest()
