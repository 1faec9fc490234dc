import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from embedrouter.errors import SettingsError, StoreUnavailableError
from embedrouter.settings import Durability
from embedrouter.store import Batch, Database, Writer, database, writer
from embedrouter.store.database import READERS, cause
from embedrouter.store.migrate import migrate
from embedrouter.telemetry.logs import formatter
from store.marks import add, add_quickly, count, names

_PATIENCE = 30.0  # seconds


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/name", "sqlite://", "sqlite:///", "postgresql"])
def test_a_bad_url_says_what_a_good_one_looks_like(url: str) -> None:
    with pytest.raises(SettingsError, match="database_url"):
        Database(url)


def test_a_password_is_not_part_of_its_name() -> None:
    opened = Database("postgresql://somebody:geheim@host/name")
    assert "geheim" not in opened.name
    for shown in (opened, opened.url, opened.write_engine, opened.read_engine, vars(opened)):
        assert "geheim" not in f"{shown!r} {shown}"


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("handler", [add, add_quickly])
def test_a_failure_that_is_logged_shows_nothing_of_the_row(
    database_url: str, handler: Any, style: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Attack 47: neither a statement's parameters nor PostgreSQL's DETAIL."""
    opened = Database(database_url)
    migrate(opened)
    writing = Writer(opened)
    name = "somebody's text,\nof two lines"
    writing.submit(handler, name).result(_PATIENCE)
    with pytest.raises(Exception, match="UNIQUE|duplicate key") as raised:
        writing.submit(handler, name).result(_PATIENCE)
    (record,) = [one for one in caplog.records if one.exc_info]
    record.exc_text = None  # pytest's own formatter has left its text there
    told = formatter(style).format(record)
    assert "Traceback" in told
    assert "somebody" not in told + cause(raised.value)
    assert "two lines" not in told + cause(raised.value)
    writing.close()
    opened.close()


def test_a_reader_sees_one_snapshot(database_url: str) -> None:
    opened = Database(database_url)
    migrate(opened)
    writing = Writer(opened)
    seen: list[int] = []

    def look(connection: Connection) -> None:
        seen.append(count(connection))
        writing.submit(add, "meanwhile").result(_PATIENCE)
        seen.append(count(connection))

    opened.read_now(look)
    assert seen == [0, 0]
    writing.close()
    opened.close()


def test_slow_readers_do_not_keep_the_keeper_waiting(database_url: str) -> None:
    """Else a key that another process disabled would go on working while somebody exports a year."""
    opened = Database(database_url)
    migrate(opened)
    ends, entered = threading.Event(), threading.Barrier(READERS + 1)

    def slow(connection: Connection) -> None:
        count(connection)
        entered.wait(_PATIENCE)
        ends.wait(_PATIENCE)

    threads = [threading.Thread(target=opened.read_now, args=(slow,)) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    entered.wait(_PATIENCE)
    started = time.monotonic()
    assert opened.read_now(count) == 0
    assert time.monotonic() - started < 5.0
    ends.set()
    for thread in threads:
        thread.join(_PATIENCE)
    opened.close()


@pytest.mark.parametrize(("durability", "level"), [("durable", 2), ("commit", 1), ("async", 1)])
def test_sqlite_syncs_as_the_durability_says(tmp_path: Path, durability: Durability, level: int) -> None:
    opened = Database(f"sqlite:///{tmp_path / 'a.db'}", durability=durability)
    migrate(opened)
    assert _asked(opened, "PRAGMA synchronous") == str(level)  # 2: an fsync before each commit is done
    assert _asked(opened, "PRAGMA journal_mode") == "wal"
    opened.close()


@pytest.mark.parametrize(("durability", "commit"), [("durable", "on"), ("commit", "on"), ("async", "off")])
def test_postgresql_syncs_as_the_durability_says(postgres_url: str, durability: Durability, commit: str) -> None:
    opened = Database(postgres_url, durability=durability)
    migrate(opened)
    assert _asked(opened, "SHOW synchronous_commit") == commit
    opened.close()


def test_the_wal_starts_anew_also_where_no_checkpoint_ever_catches_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BIG_WAL", 200_000)
    monkeypatch.setattr(writer, "_TIDY", 8)
    opened = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(opened)
    writing = Writer(opened)
    largest = 0
    for number in range(800):
        writing.submit(add_quickly, f"name {number}").result(_PATIENCE)
        largest = max(largest, (tmp_path / "a.db-wal").stat().st_size)
    assert largest < 2_000_000  # 800 commits of 2 pages or more would be 6 MB
    assert opened.read_now(count) == 800
    writing.close()
    opened.close()


def test_a_postgresql_process_stopped_in_a_transaction_does_not_stop_the_others(postgres_url: str) -> None:
    opened = Database(postgres_url)
    migrate(opened)
    assert _asked(opened, "SHOW idle_in_transaction_session_timeout") == "10s"
    opened.close()


def test_a_file_that_became_read_only_is_told_and_written_again_afterwards(tmp_path: Path) -> None:
    """Attack 44."""
    opened = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(opened)
    writing = Writer(opened)
    writing.submit(add, "before").result(_PATIENCE)
    writing.submit(_query_only, 1).result(_PATIENCE)  # what SQLite answers is the same as for a file system's
    with pytest.raises(StoreUnavailableError):
        writing.submit(add, "during").result(_PATIENCE)
    assert opened.read_now(names) == {"before"}
    assert writing.submit(add, "after").result(_PATIENCE) == 1  # on a new connection
    writing.close()
    opened.close()


def test_two_processes_write_one_file_without_refusing_each_other(tmp_path: Path) -> None:
    """Attack 45."""
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(_opened(tmp_path / "a.db")) for _ in range(2)]
        ends = time.monotonic() + 2.0

        def hammer(which: int) -> None:
            number = 0
            while time.monotonic() < ends:
                waiting = [both[which][1].submit(add_quickly, f"{which} {number + n}") for n in range(16)]
                number += 16
                for future in waiting:
                    future.result(_PATIENCE)
            done[which] = number

        done = [0, 0]
        threads = [threading.Thread(target=hammer, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        assert min(done) > 0
        assert both[0][0].read_now(count) == sum(done)


def test_a_damaged_file_is_told_as_unavailable_to_readers(tmp_path: Path) -> None:
    """Attack 44."""
    path = tmp_path / "a.db"
    with _opened(path) as (_, writing):
        writing.submit(add, "before").result(_PATIENCE)
    path.write_bytes(b"not a database" * 1000)
    opened = Database(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailableError) as told:
        opened.read_now(count)
    assert "not a database" not in told.value.message
    opened.close()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Database, Writer]]:
    opened = Database(f"sqlite:///{path}")
    migrate(opened)
    writing = Writer(opened)
    yield opened, writing
    writing.close()
    opened.close()


def _query_only(batch: Batch, payloads: Sequence[int]) -> Sequence[None]:
    batch.connection.execute(text(f"PRAGMA query_only={payloads[0]}"))
    return [None] * len(payloads)


def _asked(opened: Database, question: str) -> str:
    with opened.write_engine.connect() as connection:
        return str(connection.execute(text(question)).scalar_one())


def test_the_file_is_nobody_elses(tmp_path: Path) -> None:
    with _opened(tmp_path / "a.db"):
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file
    assert sqlite3.connect(tmp_path / "a.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
