import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from embedrouter.errors import OverloadedError, StoreUnavailableError
from embedrouter.store import Batch, Database, Writer, writer
from embedrouter.store.migrate import migrate
from postgres import PostgresServer
from store.marks import add, add_once, add_quickly, count, names

_PATIENCE = 30.0  # seconds


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def writing(database: Database) -> Iterator[Writer]:
    made = Writer(database)
    yield made
    made.close()


class Gate:
    """A handler that keeps the writer's transaction open until it is let go, so that works gather behind it."""

    def __init__(self, writing: Writer) -> None:
        self._entered, self._leave = threading.Event(), threading.Event()
        self.done: Future[None] = writing.submit(self, None)
        assert self._entered.wait(_PATIENCE)

    def __call__(self, _: Batch, payloads: Sequence[None]) -> Sequence[None]:
        self._entered.set()
        assert self._leave.wait(_PATIENCE)
        return [None] * len(payloads)

    def open(self) -> None:
        self._leave.set()
        self.done.result(_PATIENCE)


def test_what_waits_together_is_committed_together(database: Database, writing: Writer) -> None:
    gate = Gate(writing)
    waiting = [writing.submit(add, f"name {number}") for number in range(2_000)]
    assert writing.waiting == 2_000
    before = writing.commits
    gate.open()
    assert [future.result(_PATIENCE) for future in waiting] == [1] * 2_000
    assert database.read_now(count) == 2_000
    assert writing.commits - before <= 3  # the gate's own, and two of at most 1,024


def test_a_refused_payload_fails_alone_and_the_others_are_written_with_it(database: Database, writing: Writer) -> None:
    gate = Gate(writing)
    good, bad, other = (writing.submit(add, name) for name in ("good", "refused", "other"))
    before = writing.commits
    gate.open()
    assert good.result(_PATIENCE) == other.result(_PATIENCE) == 1
    with pytest.raises(ValueError, match="refused"):
        bad.result(_PATIENCE)
    assert writing.commits - before <= 2
    assert database.read_now(names) == {"good", "other"}


@pytest.mark.parametrize("poison", ["poison", "taken", "x" * 65 + "\0"])
def test_a_payload_that_raises_fails_alone(database: Database, writing: Writer, poison: str) -> None:
    writing.submit(add, "taken").result(_PATIENCE)
    if database.is_sqlite and "\0" in poison:
        poison = "taken"  # SQLite takes such text
    gate = Gate(writing)
    good, bad, other = (writing.submit(add, name) for name in ("good", poison, "other"))
    quick = writing.submit(add_quickly, "quick")
    gate.open()
    assert good.result(_PATIENCE) == other.result(_PATIENCE) == 1
    assert quick.result(_PATIENCE) is None
    assert not isinstance(bad.exception(_PATIENCE), StoreUnavailableError | None)
    assert database.read_now(names) == {"taken", "good", "other", "quick"}
    assert not _failing(writing)


def test_a_payload_that_the_driver_refuses_fails_alone(database: Database, writing: Writer) -> None:
    writing.submit(add_quickly, "taken").result(_PATIENCE)
    gate = Gate(writing)
    futures = [writing.submit(add_quickly, name) for name in ("good", "taken", "other")]
    gate.open()
    assert [future.exception(_PATIENCE) is None for future in futures] == [True, False, True]
    assert database.read_now(names) == {"taken", "good", "other"}


def test_closing_writes_what_waits_and_takes_nothing_more(database: Database, writing: Writer) -> None:
    gate = Gate(writing)
    waiting = [writing.submit(add, f"name {number}") for number in range(3_000)]
    closing = threading.Thread(target=writing.close)
    closing.start()
    gate.open()
    closing.join(_PATIENCE)
    assert not closing.is_alive()
    assert all(future.done() for future in waiting)
    assert database.read_now(count) == 3_000
    with pytest.raises(OverloadedError):
        writing.submit(add, "too late")


def test_a_full_queue_refuses_and_loses_nothing_it_took(
    database: Database, writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_WAITING", 10)
    gate = Gate(writing)
    taken = [writing.submit(add, f"name {number}") for number in range(10)]
    with pytest.raises(OverloadedError) as refused:
        writing.submit(add, "one too many")
    assert refused.value.retry_after
    gate.open()
    assert [future.result(_PATIENCE) for future in taken] == [1] * 10
    assert database.read_now(count) == 10


def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailableError):
        database.read_now(lambda connection: connection.execute(text("INSERT INTO marks VALUES ('a', 1)")))
    assert database.read_now(count) == 0


def test_who_stops_waiting_neither_loses_nor_doubles_what_is_written(database: Database, writing: Writer) -> None:
    async def run() -> None:
        gate = await asyncio.to_thread(Gate, writing)
        kept = [asyncio.ensure_future(_written(writing, f"kept {number}")) for number in range(5)]
        left = [asyncio.ensure_future(_written(writing, f"left {number}")) for number in range(5)]
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        await asyncio.to_thread(gate.open)
        assert await asyncio.gather(*kept) == [1] * 5
        assert all(isinstance(found, asyncio.CancelledError) for found in await _ended(left))

    asyncio.run(run())
    writing.close()
    assert database.read_now(names) == {f"{what} {number}" for what in ("kept", "left") for number in range(5)}


def test_an_event_loop_that_ended_does_not_stop_the_writer(database: Database, writing: Writer) -> None:
    async def leave() -> None:
        writing.write(add, "left behind")

    for _ in range(3):
        with contextlib.suppress(RuntimeError):
            gate = Gate(writing)
            with contextlib.closing(asyncio.new_event_loop()) as loop:
                loop.run_until_complete(leave())
            gate.open()
    assert writing.submit(add, "after").result(_PATIENCE) == 1
    assert "left behind" in database.read_now(names)


def test_a_watcher_that_fails_does_not_stop_the_writer(writing: Writer) -> None:
    def fail(_works: int, _seconds: float) -> None:
        raise RuntimeError("a broken watcher")

    writing.watcher = fail
    assert writing.submit(add, "first").result(_PATIENCE) == 1
    assert writing.submit(add, "second").result(_PATIENCE) == 1


@contextlib.contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    assert path is not None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_file_fails_what_waits_and_is_written_again_when_it_is_free(tmp_path: Path) -> None:
    """Attack 44."""
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(database)
    writing = Writer(database)
    with _locked(database.path):
        started = time.monotonic()
        futures = [writing.submit(add, f"during {number}") for number in range(3)]
        time.sleep(0.5)  # these come while the first ones wait for the lock: they need not wait twice as long
        futures += [writing.submit(add, f"later {number}") for number in range(3)]
        for future in futures:
            with pytest.raises(StoreUnavailableError) as refused:
                future.result(_PATIENCE)
            assert refused.value.retry_after
            assert "locked" not in refused.value.message
        assert time.monotonic() - started < 4.0
        assert _failing(writing)
        assert len({id(future.exception()) for future in futures}) == len(futures)  # each its own traceback
        assert database.read_now(count) == 0
    assert writing.submit(add, "after").result(_PATIENCE) == 1
    assert not _failing(writing)
    assert database.read_now(names) == {"after"}
    writing.close()
    database.close()


def test_what_was_committed_is_told_so_although_tidying_up_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(database)
    writing = Writer(database)
    monkeypatch.setattr(writer, "_TIDY", 1)
    path = tmp_path / "a.db-wal"

    def broken(_: Any) -> None:
        raise sqlite3.OperationalError(f"disk I/O error in {path}")

    monkeypatch.setattr(database, "bound_wal", broken)
    assert writing.submit(add, "written").result(_PATIENCE) == 1
    assert database.read_now(names) == {"written"}
    writing.close()
    database.close()


# --- the event loop


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Writer]:
    """On SQLite, where the event loop may commit by itself."""
    database = Database(f"sqlite:///{tmp_path / 'quick.db'}")
    migrate(database)
    made = Writer(database)
    made.submit(add, "ready").result(_PATIENCE)
    _rest(made)
    yield made
    made.close()
    database.close()


def _rest(writing: Writer) -> None:
    """Wait until the thread is done: it tells the result first, and till then the event loop leaves all to it."""
    deadline = time.monotonic() + _PATIENCE
    while writing._writing and time.monotonic() < deadline:
        time.sleep(0.001)


class Witness:
    """A handler that remembers by which threads it was called, with which payloads."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[int, list[str]]] = []
        self._seconds = seconds

    def __call__(self, batch: Batch, payloads: Sequence[str]) -> Sequence[int | Exception]:
        self.calls.append((threading.get_ident(), list(payloads)))
        time.sleep(self._seconds)
        return add(batch, payloads)

    @property
    def threads(self) -> list[int]:
        return [thread for thread, _ in self.calls]


def test_the_event_loop_commits_by_itself_what_one_round_leaves(quick: Writer) -> None:
    witness = Witness()

    async def run() -> list[int]:
        return list(await asyncio.gather(*(quick.write(witness, name) for name in "abc")))

    commits = quick.commits
    assert asyncio.run(run()) == [1, 1, 1]
    assert witness.calls == [(threading.get_ident(), ["a", "b", "c"])]
    assert quick.commits == commits + 1


def test_a_refused_payload_in_the_event_loop_fails_alone(quick: Writer) -> None:
    async def run() -> list[Any]:
        writes = [quick.write(add, name) for name in ("a", "refused b", "c")]
        return list(await asyncio.gather(*writes, return_exceptions=True))

    first, refused, last = asyncio.run(run())
    assert (first, last) == (1, 1)
    assert isinstance(refused, ValueError)


def test_a_payload_that_raises_in_the_event_loop_fails_alone(quick: Writer) -> None:
    async def run() -> list[Any]:
        writes = [quick.write(add, name) for name in ("a", "poison b", "c")]
        return list(await asyncio.gather(*writes, return_exceptions=True))

    first, poisoned, last = asyncio.run(run())
    assert (first, last) == (1, 1)
    assert isinstance(poisoned, RuntimeError)


def test_an_event_loop_that_would_have_to_wait_leaves_it_to_the_thread(quick: Writer) -> None:
    witness = Witness()

    async def run() -> None:
        with _locked(quick._database.path):
            writing = quick.write(witness, "patient")
            await asyncio.sleep(0.2)
            assert not writing.done()  # the loop went on before the lock was waited for
        assert await asyncio.wait_for(writing, _PATIENCE) == 1
        assert await quick.write(witness, "soon after") == 1

    asyncio.run(run())
    assert threading.get_ident() not in witness.threads
    assert not quick.failing


def test_after_a_slow_transaction_the_event_loop_leaves_the_next_ones_to_the_thread(
    quick: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, witness = Witness(0.05), Witness()

    async def run() -> None:
        await quick.write(slow, "slow")
        await quick.write(witness, "next")
        _rest(quick)
        monkeypatch.setattr(quick, "_slow_until", 0.0)
        await quick.write(witness, "later")

    asyncio.run(run())
    own = threading.get_ident()
    assert slow.threads == [own]
    assert witness.threads[0] != own
    assert witness.threads[1] == own


def test_what_the_event_loop_writes_keeps_its_order_behind_the_thread(quick: Writer) -> None:
    witness = Witness()

    async def run() -> None:
        first = quick.write(witness, "first")  # gathered in this round; then the thread begins
        gate = await asyncio.to_thread(Gate, quick)
        second = quick.write(witness, "second")
        third = quick.write(witness, "third")
        await asyncio.to_thread(gate.open)
        await asyncio.gather(first, second, third)

    asyncio.run(run())
    assert [name for _, names in witness.calls for name in names] == ["first", "second", "third"]


def test_what_was_gathered_is_written_before_the_writer_closes(quick: Writer) -> None:
    async def run() -> int:
        writing = quick.write(add, "last")
        quick.close()
        return await asyncio.wait_for(writing, _PATIENCE)

    assert asyncio.run(run()) == 1


def test_where_a_commit_waits_for_the_disk_the_thread_does_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}", durability="durable")
    migrate(database)
    writing = Writer(database)
    witness = Witness()
    asyncio.run(_written_by(writing, witness))
    assert threading.get_ident() not in witness.threads
    writing.close()
    database.close()


def test_postgresql_is_written_by_the_thread(postgresql: Database) -> None:
    writing = Writer(postgresql)
    witness = Witness()
    asyncio.run(_written_by(writing, witness))
    assert threading.get_ident() not in witness.threads
    writing.close()


async def _written_by(writing: Writer, witness: Witness) -> None:
    assert await writing.write(witness, "anything") == 1


def test_a_wal_that_grew_is_cut_to_nothing_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(database)
    writing = Writer(database)
    for number in range(50):
        writing.submit(add, f"name {number}").result(_PATIENCE)
    wal = tmp_path / "a.db-wal"
    grown = wal.stat().st_size
    assert grown > 50 * 4096
    monkeypatch.setattr(writer, "_TIDY", 1)
    monkeypatch.setattr("embedrouter.store.database._BIG_WAL", grown)
    writing.submit(add, "one more").result(_PATIENCE)
    writing.submit(add, "after it").result(_PATIENCE)
    assert wal.stat().st_size < grown
    writing.close()
    database.close()


@pytest.fixture
def postgresql(postgres_url: str) -> Iterator[Database]:
    made = Database(postgres_url)
    migrate(made)
    yield made
    made.close()


def _kill_sessions(url: str) -> int:
    """End every session of ours, as a restart or an administrator does; how many there were."""
    parsed = make_url(url)
    with psycopg.connect(
        host=parsed.host, port=parsed.port, user=parsed.username, dbname=parsed.database, autocommit=True
    ) as connection:
        found = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'embedrouter' "
            "AND datname = current_database()"
        ).fetchall()
        return len(found)


def test_a_connection_that_broke_between_two_writes_is_made_anew(postgresql: Database, postgres_url: str) -> None:
    writing = Writer(postgresql)
    assert writing.submit(add_once, "before").result(_PATIENCE) is False
    assert postgresql.read_now(count) == 1
    assert _kill_sessions(postgres_url) >= 1
    assert writing.submit(add_once, "after").result(_PATIENCE) is True
    assert writing.submit(add_once, "later").result(_PATIENCE) is False
    assert not _failing(writing)
    assert postgresql.read_now(names) == {"before", "after", "later"}
    writing.close()


def test_a_connection_that_breaks_in_a_transaction_gives_exactly_one_second_try(
    postgresql: Database, postgres_url: str
) -> None:
    writing = Writer(postgresql)
    tries: list[bool] = []

    def break_it(batch: Batch, payloads: Sequence[str]) -> Sequence[None]:
        tries.append(batch.again)
        batch.connection.execute(text("INSERT INTO marks VALUES (:name, 1)"), {"name": payloads[0]})
        _kill_sessions(postgres_url)
        return [None] * len(payloads)

    with pytest.raises(StoreUnavailableError):
        writing.submit(break_it, "never").result(_PATIENCE)
    assert tries == [False, True]
    assert _failing(writing)
    assert writing.submit(add_once, "after").result(_PATIENCE) is False
    assert not _failing(writing)
    assert postgresql.read_now(names) == {"after"}
    writing.close()


def test_a_commit_whose_answer_was_lost_is_not_written_twice(postgresql: Database, postgres_url: str) -> None:
    """Attack 43, at the worst moment: PostgreSQL has committed, and the connection breaks before it can say so."""
    writing = Writer(postgresql)
    tries: list[bool] = []

    def commit_and_break(batch: Batch, payloads: Sequence[str]) -> Sequence[bool]:
        tries.append(batch.again)
        found = add_once(batch, payloads)
        if not batch.again:
            batch.cursor.execute("COMMIT")
            _kill_sessions(postgres_url)
            batch.cursor.execute("SELECT 1")
        return found

    assert writing.submit(commit_and_break, "once").result(_PATIENCE) is True
    assert tries == [False, True]
    assert postgresql.read_now(count) == 1
    writing.close()


def test_while_postgresql_is_away_it_is_told_and_afterwards_it_works(
    postgres: PostgresServer, postgresql: Database
) -> None:
    """Attack 44."""
    writing = Writer(postgresql)
    writing.submit(add, "before").result(_PATIENCE)
    assert postgresql.read_now(count) == 1
    postgres.kill()
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        writing.submit(add, "during").result(_PATIENCE)
    with pytest.raises(StoreUnavailableError):
        postgresql.read_now(count)
    assert time.monotonic() - started < 5
    postgres.start()
    assert writing.submit(add, "after").result(_PATIENCE) == 1
    assert postgresql.read_now(names) == {"before", "after"}
    writing.close()


def test_a_read_only_postgresql_is_unavailable_not_a_fault_of_ours(postgresql: Database, postgres_url: str) -> None:
    writing = Writer(postgresql)
    writing.submit(add, "before").result(_PATIENCE)
    name = make_url(postgres_url).database
    _alter(postgres_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    _kill_sessions(postgres_url)
    with pytest.raises(StoreUnavailableError):
        writing.submit(add, "during").result(_PATIENCE)
    with pytest.raises(StoreUnavailableError):
        writing.submit(add_quickly, "during").result(_PATIENCE)
    assert _failing(writing)
    assert postgresql.read_now(names) == {"before"}
    _alter(postgres_url, f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    assert writing.submit(add, "after").result(_PATIENCE) == 1
    assert not _failing(writing)
    writing.close()


def _alter(url: str, statement: str) -> None:
    parsed = make_url(url)
    with psycopg.connect(
        host=parsed.host, port=parsed.port, user=parsed.username, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(statement.encode())


def _failing(writing: Writer) -> bool:
    return writing.failing


async def _written(writing: Writer, name: str) -> int | Exception:
    return await asyncio.shield(writing.write(add, name))


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)
