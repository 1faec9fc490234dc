"""The PostgreSQL that tests run on: what they rely on holds."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

import postgres as module
from postgres import PostgresError, PostgresServer, postgresql
from server import eventually


def connect(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def run(url: str, *statements: str) -> None:
    with connect(url).begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def numbers(url: str) -> list[int]:
    with connect(url).connect() as connection:
        return list(connection.execute(text("SELECT number FROM numbers ORDER BY number")).scalars())


def exists(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and ") Z " not in path.read_text()


def test_both_databases_keep_what_is_committed(database_url: str) -> None:
    run(database_url, "CREATE TABLE numbers (number INTEGER PRIMARY KEY)", "INSERT INTO numbers VALUES (1), (2)")
    assert numbers(database_url) == [1, 2]


def test_a_url_names_the_driver_and_the_port(postgres: PostgresServer, postgres_url: str) -> None:
    assert postgres_url.startswith(f"postgresql+psycopg://postgres@127.0.0.1:{postgres.port}/test_")
    with connect(postgres_url).connect() as connection:
        shown = {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in ("fsync", "server_encoding")}
    assert shown == {"fsync": "on", "server_encoding": "UTF8"}


def test_a_restart_ends_sessions_and_keeps_the_url(postgres: PostgresServer, postgres_url: str) -> None:
    run(postgres_url, "CREATE TABLE numbers (number INTEGER)", "INSERT INTO numbers VALUES (1)")
    with connect(postgres_url).connect() as connection:
        connection.execute(text("INSERT INTO numbers VALUES (2)"))
        postgres.restart()
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    assert numbers(postgres_url) == [1]


def test_a_kill_leaves_no_process_and_keeps_what_is_committed(postgres: PostgresServer, postgres_url: str) -> None:
    run(postgres_url, "CREATE TABLE numbers (number INTEGER)", "INSERT INTO numbers VALUES (1)")
    with connect(postgres_url).connect() as connection:
        connection.execute(text("INSERT INTO numbers VALUES (2)"))
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        assert exists(backend)
        postgres.kill()
        assert not exists(backend)
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    assert not postgres.running
    with pytest.raises(OperationalError):
        numbers(postgres_url)
    postgres.start()
    assert numbers(postgres_url) == [1]
    assert "was not properly shut down" in postgres.log()


def test_a_server_left_down_is_started_for_the_next_test(postgres: PostgresServer) -> None:
    postgres.stop()
    postgres.kill()
    url = postgres.create_database()
    run(url, "CREATE TABLE numbers (number INTEGER)")
    postgres.stop()
    postgres.drop(url)
    with pytest.raises(OperationalError):
        numbers(url)


def test_dropping_ends_the_sessions_of_that_database(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    with connect(url).connect() as connection:
        connection.execute(text("SELECT 1"))
        postgres.drop(url)
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    postgres.drop(url)


def test_nothing_is_left_at_the_end() -> None:
    with postgresql() as server:
        pid = int((server.data_dir / "postmaster.pid").read_text().split()[0])
        assert exists(pid)
    assert not server.folder.exists()
    eventually(lambda: not exists(pid))


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = module._binaries

    def binaries(folder: Path, account: Mapping[str, Any]) -> Path:
        made.append(folder)
        return original(folder, account)

    monkeypatch.setattr(module, "_binaries", binaries)
    monkeypatch.setitem(module._SETTINGS, "max_connections", "many")
    with pytest.raises(PostgresError, match='invalid value for parameter "max_connections"'), postgresql():
        pass
    assert made
    assert not made[0].exists()


def test_without_any_postgresql_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_of_system", lambda: iter([Path(os.devnull)]))
    monkeypatch.setattr(module, "_wheel", lambda: None)
    monkeypatch.delenv("TEST_POSTGRES", raising=False)
    with pytest.raises(PostgresError, match="apt install postgresql"), postgresql():
        pass
