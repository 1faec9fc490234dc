import contextlib
import os
import resource
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from fault.bank import Bank
from fault.clients import of
from postgres import PostgresServer
from server import Server, eventually, serving

_SLOWEST = 8.0  # seconds: SQLite's wait for a lock and PostgreSQL's, on a busy machine
_BACK = 15.0  # seconds until it serves again by itself


@contextlib.contextmanager
def _outage(server: Server, bank: Bank) -> Iterator[None]:
    """Clients before, during and after; entered, the outage begins, and it is over when the block is left."""
    clients = of(server)
    with clients.hammering(6, seed=1):
        eventually(lambda: clients.statuses[200] > 10)
        yield
        eventually(lambda: server.embed("is it back?").status == 200, _BACK)
        served = clients.statuses[200]
        eventually(lambda: clients.statuses[200] > served + 10)
    assert clients.bad == []
    assert clients.statuses[503] > 0, clients.statuses
    assert clients.slowest < _SLOWEST
    assert clients.broken == 0
    eventually(lambda: bank.holds() == 0, _BACK)
    bank.audit(clients.told)
    assert "Traceback" not in server.output()


def _during(server: Server, seconds: float) -> None:
    """Wait; all the while a good key is told 503, or served, and nothing hangs."""
    ends = time.monotonic() + seconds
    refused = 0
    while time.monotonic() < ends:
        started = time.monotonic()
        answer = server.embed("during the outage")
        assert time.monotonic() - started < _SLOWEST
        if answer.status != 200:
            answer.error(503, "provider_overloaded")
            assert int(answer.headers["retry-after"]) > 0
            refused += 1
        assert server.get("/health").status == 200
        time.sleep(0.05)
    assert refused > 0


@pytest.fixture
def sqlite_bank(tmp_path: Path) -> Iterator[Bank]:
    made = Bank(f"sqlite:///{tmp_path / 'database' / 'embedrouter.db'}")
    made.endow()
    yield made
    made.close()


@contextlib.contextmanager
def _locked(bank: Bank) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(bank.path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_database_locked_for_8_seconds(sqlite_bank: Bank, tmp_path: Path) -> None:
    """Attack 44."""
    seconds = float(os.environ.get("TEST_LOCKED_SECONDS", "8"))
    with (
        serving(tmp_path / "server", database_url=sqlite_bank.url, billing="enforce") as server,
        _outage(server, sqlite_bank),
        _locked(sqlite_bank),
    ):
        _during(server, seconds)


def test_a_file_that_may_not_grow(sqlite_bank: Bank, tmp_path: Path) -> None:
    """Attack 44: As a full disk or a quota: for any user, on any file system."""
    with serving(tmp_path / "server", database_url=sqlite_bank.url, billing="enforce") as server:
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        with _outage(server, sqlite_bank):
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
            _during(server, 3)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(reason="only root may mount; a file that may not grow is tested for anybody")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Attack 44."""
    bank = Bank(f"sqlite:///{small_disk / 'embedrouter.db'}")
    bank.endow()
    filler = small_disk / "filler"
    with serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server, _outage(server, bank):
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        _during(server, 3)
        filler.unlink()
    bank.close()


def test_a_postgresql_restarted_in_the_middle_of_load(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    bank = Bank(postgres_url)
    bank.endow()
    with serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server:
        with _outage(server, bank):
            postgres.stop()
            _during(server, 1)
            postgres.start()
        with _outage(server, bank):
            postgres.kill()
            _during(server, 1)
            postgres.start()
    bank.close()


def test_a_postgresql_whose_tables_are_locked(postgres_url: str, tmp_path: Path) -> None:
    bank = Bank(postgres_url)
    bank.endow()
    with (
        serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server,
        _outage(server, bank),
        _session(postgres_url) as other,
    ):
        other.execute("LOCK TABLE spending IN ACCESS EXCLUSIVE MODE")
        _during(server, 7)
        other.rollback()
    bank.close()


def test_a_postgresql_that_became_read_only(postgres_url: str, tmp_path: Path) -> None:
    """Attack 44."""
    bank = Bank(postgres_url)
    bank.endow()
    name = make_url(postgres_url).database
    with (
        serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server,
        _outage(server, bank),
        _session(postgres_url) as other,
    ):
        other.autocommit = True
        other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        _end_sessions(other)
        _during(server, 2)
        other.execute("SET default_transaction_read_only = off")
        other.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
    bank.close()


@contextlib.contextmanager
def _session(url: str) -> Iterator[psycopg.Connection]:
    parsed = make_url(url)
    with psycopg.connect(
        host=parsed.host, port=parsed.port, user=parsed.username, dbname=parsed.database
    ) as connection:
        yield connection


def _end_sessions(other: psycopg.Connection) -> None:
    other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'embedrouter' AND datname = current_database()"
    )


def test_async_answers_while_the_database_is_locked_and_writes_it_all_afterwards(
    sqlite_bank: Bank, tmp_path: Path
) -> None:
    with serving(tmp_path / "server", database_url=sqlite_bank.url, durability="async") as server:
        assert server.embed("before").status == 200
        told = 1
        with _locked(sqlite_bank):
            ends = time.monotonic() + 4
            while time.monotonic() < ends:
                started = time.monotonic()
                # Its key has a limit, which only the database can watch.
                assert server.embed("a limit cannot be watched now").status in {200, 503}
                assert time.monotonic() - started < _SLOWEST
                told += 1
                time.sleep(0.05)
        eventually(lambda: server.embed("after").status == 200, _BACK)


def test_async_loses_nothing_of_an_unlimited_key_when_the_database_was_locked(tmp_path: Path) -> None:
    bank = Bank(f"sqlite:///{tmp_path / 'embedrouter.db'}")
    with serving(tmp_path / "server", database_url=bank.url, durability="async") as server:
        names = {server.embed("before").headers["x-generation-id"]}
        with _locked(bank):
            ends = time.monotonic() + 4
            while time.monotonic() < ends:
                started = time.monotonic()
                answer = server.embed("during")
                assert answer.status == 200
                assert time.monotonic() - started < 3
                names.add(answer.headers["x-generation-id"])
        assert len(names) > 20
        eventually(lambda: set(bank.costs()) == names, _BACK)
        late = {server.embed("the last ones").headers["x-generation-id"] for _ in range(20)}
        assert server.stop() == 0
        assert set(bank.costs()) == names | late
        assert bank.findings() == []
    bank.close()


def test_a_client_that_leaves_holds_nothing_and_is_charged_at_most_once(bank: Bank, tmp_path: Path) -> None:
    # Where nobody waits for settlements, money is held before the model computes.
    chosen: dict[str, Any] = {"billing": "enforce", "durability": "async", "threads": 1, "max_wait_s": 60}
    with serving(tmp_path / "server", database_url=bank.url, **chosen) as server:
        body = b'{"model": "all-minilm-l6-v2", "input": [%s]}' % b", ".join(
            b'"%d %s"' % (number, b"word " * 200) for number in range(100)
        )
        sockets = [server.connect() for _ in range(3)]
        for connection in sockets:
            connection.sendall(server.head(f"Content-Length: {len(body)}") + body)
        eventually(lambda: bank.holds() == 3)
        assert bank.balance().held_pico > 0
        for connection in sockets:
            connection.close()
        eventually(lambda: bank.holds() == 0)
        eventually(lambda: len(bank.costs()) + bank.count(status=499, cancelled=True) == 3)
        assert bank.balance().held_pico == 0
        assert bank.balance().spent_pico == sum(bank.costs().values())
        assert bank.findings() == []


def test_what_was_answered_before_sigterm_is_in_the_ledger_and_nothing_is_held(bank: Bank, tmp_path: Path) -> None:
    with serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server:
        clients = of(server)
        with clients.hammering(6, seed=2):
            eventually(lambda: clients.statuses[200] > 20)
            assert server.stop() == 0
    assert clients.bad == []
    assert bank.holds() == 0
    bank.audit(clients.told)


def test_a_timed_out_request_costs_nothing(bank: Bank, tmp_path: Path) -> None:
    with serving(
        tmp_path / "server", database_url=bank.url, billing="enforce", threads=1, request_timeout_s=0.8, max_wait_s=60
    ) as server:
        waiting = [
            threading.Thread(target=server.embed, args=([f"{number} " + "word " * 200 for number in range(100)],))
            for _ in range(3)
        ]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join(60)
        eventually(lambda: bank.count(status=504) == 3)
        eventually(lambda: bank.holds() == 0)
        assert bank.costs() == {}
        assert bank.balance().spent_pico == bank.balance().held_pico == 0
        assert bank.findings() == []


def test_what_a_client_says_about_itself_cannot_leave_a_hold_behind(bank: Bank, tmp_path: Path) -> None:
    with serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server:
        for nasty in ("\0", "a\0b", "\x1b[31m", "\N{PILE OF POO}" * 256, "'; DROP TABLE generations; --"):
            answer = server.embed("hello", session_id=nasty, user=nasty, headers={"X-Request-Id": "a'b"})
            assert answer.status == 200
        eventually(lambda: bank.holds() == 0)
        assert len(bank.costs()) == 5
        assert bank.findings() == []
