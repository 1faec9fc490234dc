import asyncio
import contextlib
import gc
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from embedrouter.errors import RateLimitExceededError, StoreUnavailableError
from embedrouter.ledger import book, generations
from embedrouter.ledger.book import Instance, Ledger, now
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import Settlement
from embedrouter.store import Batch
from ledger.books import NOON, Books, opened, settlement, wanted
from server import eventually


@pytest.fixture
def file_books(tmp_path: Path) -> Iterator[Books]:
    """On SQLite, whose file a test can lock."""
    with opened(f"sqlite:///{tmp_path / 'embedrouter.db'}") as made:
        made.credit(1000)
        yield made


@contextlib.contextmanager
def _locked(books: Books) -> Iterator[None]:
    assert books.database.path is not None
    with contextlib.closing(sqlite3.connect(books.database.path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def _ledger(books: Books) -> Ledger:
    made = Ledger(books.database, books.writer, Instance("one", "host", 1, NOON))
    made.beat()
    return made


def test_what_failed_while_the_database_was_away_is_written_with_the_next_sign_of_life(file_books: Books) -> None:
    ledger = _ledger(file_books)
    payer = file_books.payer(file_books.key(), enforce=True)

    async def run() -> None:
        held = [await ledger.hold(payer, f"gen-{number}", Amount(10), 1, now()) for number in range(4)]
        with _locked(file_books):
            with pytest.raises(StoreUnavailableError):
                await _settle(ledger, settlement(held[0]))
            ledger.give_back(held[1])
            ledger.note(settlement(held[2], 0, status=502))
            leaving = asyncio.ensure_future(_settle(ledger, settlement(held[3])))
            await asyncio.sleep(0)
            leaving.cancel()  # its client does not even learn that it failed
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
            with pytest.raises(StoreUnavailableError):
                ledger.require_up()
            await asyncio.sleep(3)
        await asyncio.to_thread(ledger.beat)
        ledger.require_up()

    asyncio.run(run())
    assert file_books.balance() == (1000, 0, 0)
    assert file_books.generations() == 1
    assert file_books.findings() == []


def test_a_hold_whose_answer_never_came_is_given_back(books: Books) -> None:
    """The writer is stuck, as with a PostgreSQL that hangs: the caller is told in time, and holds nothing."""
    books.credit(1000)
    ledger = _ledger(books)
    payer = books.payer(books.key(), enforce=True)

    async def run() -> None:
        stuck = books.writer.submit(_slow, 1.0)
        with pytest.raises(StoreUnavailableError):
            await ledger.hold(payer, "gen-a", Amount(10), 1, now())
        with pytest.raises(StoreUnavailableError):  # and nobody else waits as long
            ledger.require_up()
        assert not stuck.done()
        await asyncio.to_thread(stuck.result)
        await asyncio.to_thread(ledger.beat)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "_PATIENCE", 0.2)
        asyncio.run(run())
    ledger.beat()
    assert books.balance() == (1000, 0, 0)
    ledger.require_up()


def test_a_settlement_whose_answer_never_came_is_not_charged(books: Books) -> None:
    books.credit(1000)
    ledger = _ledger(books)
    payer = books.payer(books.key(), enforce=True)

    async def run() -> None:
        hold = await ledger.hold(payer, "gen-a", Amount(10), 1, now())
        stuck = books.writer.submit(_slow, 1.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(book, "_PATIENCE", 0.2)
            with pytest.raises(StoreUnavailableError):
                await _settle(ledger, settlement(hold))
        await asyncio.to_thread(stuck.result)
        await asyncio.to_thread(ledger.beat)
        await asyncio.sleep(0.1)

    asyncio.run(run())
    ledger.beat()
    assert books.balance() == (1000, 0, 0)
    assert books.generations() == 0
    assert books.findings() == []


def test_a_caller_that_goes_away_while_it_waits_for_a_hold_holds_nothing(books: Books) -> None:
    books.credit(1000)
    ledger = _ledger(books)
    payer = books.payer(books.key(), enforce=True)

    async def run() -> None:
        stuck = books.writer.submit(_slow, 0.2)
        tasks = [asyncio.ensure_future(ledger.hold(payer, f"gen-{n}", Amount(10), 1, now())) for n in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(stuck.result)
        await asyncio.to_thread(books.do, _slow, 0.0)  # behind the holds
        await asyncio.to_thread(eventually, lambda: books.writer.waiting == books.held_rows() == 0)

    asyncio.run(run())
    assert books.balance() == (1000, 0, 0)


def test_a_caller_that_goes_away_while_it_is_settled_is_charged_once(books: Books) -> None:
    books.credit(1000)
    ledger = _ledger(books)
    payer = books.payer(books.key(), enforce=True)

    async def run() -> None:
        hold = await ledger.hold(payer, "gen-a", Amount(10), 1, now())
        task = asyncio.ensure_future(_settle(ledger, settlement(hold)))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(books.writer.submit(_slow, 0.0).result)
        await asyncio.sleep(0)

    asyncio.run(run())
    ledger.beat()
    assert books.balance() == (1000, 10, 0)
    assert books.generations() == 1
    assert books.findings() == []


def test_many_owed_writes_are_paid_together_and_before_signing_off(file_books: Books) -> None:
    """One by one they would keep the keeper from everything else."""
    ledger = Ledger(file_books.database, file_books.writer, Instance("one", "host", 1, NOON))
    ledger._waits = False  # as where durability is async
    payer = file_books.payer(file_books.key())

    async def run() -> None:
        with _locked(file_books):
            for _ in range(3_000):
                await _settle(ledger, settlement(wanted(payer, 5)))
            await asyncio.to_thread(eventually, lambda: file_books.writer.failing)
            ledger.require_up()  # it answers all the same
            await asyncio.sleep(0.1)

    asyncio.run(run())
    assert file_books.generations() == 0
    before = file_books.writer.commits
    ledger.close()
    assert file_books.writer.commits - before < 20
    assert file_books.generations() == 3_000
    assert file_books.balance().spent_pico == 15_000
    assert file_books.findings() == []


def test_owed_writes_that_were_written_after_all_are_not_written_twice(books: Books) -> None:
    ledger = _ledger(books)
    made = settlement(wanted(books.payer(books.key()), 10))
    books.do(generations.settle, made)
    ledger._owed.append((book._settle_again, made))
    ledger.beat()
    assert books.generations() == 1
    assert books.balance().spent_pico == 10
    assert books.findings() == []


async def _settle(ledger: Ledger, made: Settlement) -> None:
    await ledger.settle(made, lambda: asyncio.sleep(0))


def _slow(_: Batch, payloads: Sequence[float]) -> Sequence[None]:
    """Keeps the writer's transaction open for so many seconds."""
    time.sleep(payloads[0])
    return [None] * len(payloads)


def test_a_process_that_is_alone_counts_what_is_under_way_by_itself(books: Books) -> None:
    ledger = _ledger(books)
    payer = books.payer(books.key(max_concurrent=2))
    with ledger.place(payer) as first:
        assert not first.limited  # the database need not look
        with ledger.place(payer):
            with pytest.raises(RateLimitExceededError) as refused, ledger.place(payer):
                pytest.fail("a third one got a place")
            assert refused.value.metadata["limit"] == "max_concurrent"
        with ledger.place(payer):
            pass
    with contextlib.suppress(KeyError), ledger.place(payer), ledger.place(payer):
        raise KeyError("also who fails gives it back")
    with ledger.place(payer), ledger.place(payer):
        pass


def test_beside_another_process_the_database_counts_what_is_under_way(books: Books) -> None:
    ledger = _ledger(books)
    other = Ledger(books.database, books.writer, Instance("two", "host", 2, NOON))
    payer = books.payer(books.key(max_concurrent=1))
    other.beat()
    with ledger.place(payer) as left:  # it has not heard of the other yet
        assert left.max_concurrent is None
    ledger.beat()
    for each in (ledger, other):
        with each.place(payer) as left, each.place(payer) as second:  # it is the database that refuses
            assert left.max_concurrent == second.max_concurrent == 1
    other.close()
    ledger.beat()
    with ledger.place(payer) as left:
        assert left.max_concurrent is None


def test_who_left_before_the_database_failed_leaves_no_trace_in_the_log(
    file_books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio logs with its traceback an exception that nobody asked for."""
    ledger = _ledger(file_books)
    payer = file_books.payer(file_books.key(), enforce=True)

    async def run() -> None:
        asking = asyncio.ensure_future(ledger.hold(payer, "gen-a", Amount(10), 1, now()))
        await asyncio.sleep(0.1)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await asyncio.to_thread(eventually, lambda: file_books.writer.failing)

    with _locked(file_books):
        asyncio.run(run())
    gc.collect()
    assert "never retrieved" not in caplog.text
