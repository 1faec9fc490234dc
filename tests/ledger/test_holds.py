import contextlib
import multiprocessing
import random
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from typing import Any

import pytest

from embedrouter.accounts import first
from embedrouter.errors import (
    EmbedRouterError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitExceededError,
    StoreUnavailableError,
)
from embedrouter.ledger import book, generations, holds
from embedrouter.ledger.book import Instance, Ledger
from embedrouter.ledger.credits import ACCOUNT
from embedrouter.ledger.holds import Hold
from embedrouter.ledger.payer import Payer
from embedrouter.money import MOST, PICO
from embedrouter.periods import Period
from ledger.books import INSTANCE, NOON, Books, opened, settlement, time_of, wanted

_CENT = 10_000_000_000  # pico-USD


def test_a_balance_is_never_exceeded(books: Books) -> None:
    """Attack 40."""
    payer = books.payer(books.key(), enforce=True)
    with pytest.raises(PaymentRequiredError, match="Insufficient credits"):
        books.hold(payer, 1)
    books.credit(10)
    some = books.hold(payer, 7)
    with pytest.raises(PaymentRequiredError) as refused:
        books.hold(payer, 4)
    assert refused.value.metadata["limit"] == "balance"
    books.hold(payer, 3)
    books.settle(some)
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, 1)
    assert books.balance() == (10, 7, 3)
    assert books.findings() == []


def test_a_request_that_costs_nothing_fits_even_where_all_is_used_up(books: Books) -> None:
    key = books.key(limit_pico=5)
    books.credit(5)
    payer = books.payer(key, enforce=True)
    books.settle(books.hold(payer, 5))
    books.settle(books.hold(payer, 0))
    books.change(key, limit_pico=1)  # less than was spent
    books.settle(books.hold(payer, 0))
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, 1)
    assert books.generations() == 3
    assert books.findings() == []


_WINDOWS: list[tuple[Period, str, str, str]] = [
    ("day", "2026-03-04T23:59:59.999999+00:00", "2026-03-05T00:00:00+00:00", "2026-03-05T00:00:00"),
    ("week", "2026-03-08T23:59:59.999999+00:00", "2026-03-09T00:00:00+00:00", "2026-03-09T00:00:00"),
    ("month", "2028-02-29T23:59:59.999999+00:00", "2028-03-01T00:00:00+00:00", "2028-03-01T00:00:00"),
    ("month", "2026-12-31T23:59:59.999999+00:00", "2027-01-01T00:00:00+00:00", "2027-01-01T00:00:00"),
    # In summer time, west and east of Greenwich: windows are UTC's.
    ("day", "2026-03-29T01:59:59.999999+02:00", "2026-03-29T02:00:00+02:00", "2026-03-29T00:00:00"),
    ("week", "2026-11-01T16:59:59.999999-07:00", "2026-11-01T16:00:00-08:00", "2026-11-02T00:00:00"),
]


@pytest.mark.parametrize(("period", "last", "next_", "resets"), _WINDOWS)
def test_a_keys_limit_starts_anew_with_its_window_and_not_before(
    books: Books, period: Period, last: str, next_: str, resets: str
) -> None:
    """Attacks 39 and 46."""
    payer = books.payer(books.key(limit_pico=10, limit_reset=period))
    before, after = time_of(last), time_of(next_)
    held = books.hold(payer, 10, before)
    with pytest.raises(PaymentRequiredError) as refused:
        books.hold(payer, 1, before)
    assert refused.value.metadata["resets_at"].startswith(resets)
    books.settle(books.hold(payer, 10, after))
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, 1, after)
    books.settle(held)  # counts where it began
    key_id = str(payer.key_id)
    assert books.spent("key", key_id, period, before) == (10, 0)
    assert books.spent("key", key_id, period, after) == (10, 0)
    assert books.spent("key", key_id) == (20, 0)
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, 1, before)
    assert books.findings() == []


def test_a_limit_without_reset_never_starts_anew(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=10))
    books.settle(books.hold(payer, 10))
    with pytest.raises(PaymentRequiredError) as refused:
        books.hold(payer, 1, NOON + 400 * 86_400_000_000)
    assert refused.value.metadata["resets_at"] is None


@pytest.mark.parametrize("period", ["total", "day", "week", "month"])
def test_a_workspaces_budget_is_shared_by_its_keys_and_never_exceeded(books: Books, period: Period) -> None:
    """Attack 39: more keys are no more money."""
    books.budget(period, 10)
    one, two = (books.payer(books.key(), budget=(period,)) for _ in range(2))
    books.settle(books.hold(one, 6))
    books.hold(two, 4)
    for payer in (one, two):
        with pytest.raises(PermissionDeniedError) as refused:
            books.hold(payer, 1)
        assert refused.value.metadata["limit"] == "budget"
    assert books.spent("workspace", first.WORKSPACE, period) == (6, 4)
    assert books.findings() == []


def test_a_request_that_does_not_fit_one_limit_is_held_in_none(books: Books) -> None:
    books.credit(100)
    books.budget("day", 100)
    payer = books.payer(books.key(limit_pico=5, requests_per_minute=1, max_concurrent=1), enforce=True, budget=("day",))
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, 6)
    assert books.balance() == (100, 0, 0)
    assert books.spent("workspace", first.WORKSPACE, "day") == (0, 0)
    assert books.held_rows() == 0
    books.hold(payer, 5)  # the refused one used up no rate


def test_release_and_settlement_are_once_only(books: Books) -> None:
    """Attack 43: at most one charge."""
    books.credit(100)
    payer = books.payer(books.key(limit_pico=50), enforce=True)
    released, settled = books.hold(payer, 10), books.hold(payer, 20)
    for _ in range(3):
        books.release(released)
    books.settle(settled)
    books.release(settled)
    books.settle(settled, again=True)
    with pytest.raises(Exception, match=r"(?i)unique"):
        books.settle(settled)
    assert books.balance() == (100, 20, 0)
    assert books.spent("key", str(payer.key_id)) == (20, 0)
    assert books.generations() == 1
    assert books.held_rows() == 0
    assert books.findings() == []


def test_a_hold_tried_again_after_a_lost_commit_is_held_once(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    books.hold(payer, 10, name="gen-a")
    books.hold(payer, 10, name="gen-a", again=True)
    assert books.balance() == (10, 0, 10)
    assert books.findings() == []


def test_a_hold_that_was_released_for_a_dead_process_is_settled_if_it_still_fits(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(max_concurrent=1, requests_per_minute=1), enforce=True)
    late = books.hold(payer, 6)
    books.release(late)
    books.settle(late)
    assert books.balance() == (10, 6, 0)
    assert books.held_rows() == 0
    assert books.findings() == []


def test_a_hold_that_was_released_and_whose_money_is_gone_is_refused_and_costs_nothing(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    late = books.hold(payer, 6)
    books.release(late)
    books.settle(books.hold(payer, 6))
    with pytest.raises(EmbedRouterError) as refused:
        books.settle(late)
    assert refused.value.status == 503
    assert refused.value.retry_after
    assert books.balance() == (10, 6, 0)
    assert books.generations() == 1
    assert books.held_rows() == 0
    assert books.findings() == []


def test_a_failed_request_whose_hold_was_released_leaves_its_generation_whatever_is_left(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    late = books.hold(payer, 6)
    books.release(late)
    books.settle(books.hold(payer, 6))
    books.settle(late, 0, status=502)
    assert books.balance() == (10, 6, 0)
    assert books.generations() == 2
    assert books.findings() == []


def test_a_limit_lowered_while_money_is_held_lets_what_was_granted_be_settled(books: Books) -> None:
    key = books.key(limit_pico=10)
    payer = books.payer(key)
    held = books.hold(payer, 8)
    books.change(key, limit_pico=5)
    with pytest.raises(PaymentRequiredError) as refused:
        books.hold(payer, 1)
    assert refused.value.metadata["remaining_usd"] == 0
    books.settle(held)
    books.change(key, limit_pico=9)
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, 2)
    books.hold(payer, 1)
    assert books.findings() == []


def test_a_limit_raised_or_removed_counts_at_once(books: Books) -> None:
    key = books.key(limit_pico=1)
    stale = books.payer(key)
    with pytest.raises(PaymentRequiredError):
        books.hold(stale, 2)
    books.change(key, limit_pico=2)
    books.settle(books.hold(stale, 2))
    books.change(key, limit_pico=None)
    books.hold(stale, MOST // 2)  # of a process that has not heard yet
    books.release(books.hold(books.payer(key), MOST // 2))
    assert books.findings() == []


def test_a_budget_removed_while_money_is_held_forgets_nothing(books: Books) -> None:
    books.budget("day", 10)
    payer = books.payer(books.key(), budget=("day",))
    held = books.hold(payer, 10)
    books.budget_gone()
    books.settle(held)
    assert books.spent("workspace", first.WORKSPACE, "day") == (10, 0)
    assert books.findings() == []


@pytest.mark.parametrize("amount", [4_000_000 * PICO, 4_000_000 * PICO + 1, MOST, (1 << 63) - 1])
def test_no_amount_is_too_large_to_be_refused_or_granted_rightly(books: Books, amount: int) -> None:
    """Attack 40: no number overflows."""
    books.credit(MOST)
    payer = books.payer(books.key(limit_pico=MOST), enforce=True)
    if amount > 4_000_000 * PICO:
        with pytest.raises(PaymentRequiredError, match="at most 4,000,000 USD"):
            books.hold(payer, amount)
    else:
        books.settle(books.hold(payer, amount))
        with pytest.raises(PaymentRequiredError):
            books.hold(payer, amount)
        books.settle(books.hold(payer, MOST - amount))
        assert books.balance() == (MOST, MOST, 0)
    books.credit(-MOST, kind="adjustment")
    with pytest.raises(PaymentRequiredError):
        books.hold(payer, min(amount, 4_000_000 * PICO))
    assert books.findings() == []


def test_one_that_does_not_fit_does_not_take_those_down_that_came_with_it(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    futures = [books.writer.submit(holds.hold, wanted(payer, amount)) for amount in (4, 20, 4, 4, 2)]
    granted = [future.exception(60) is None for future in futures]
    assert granted == [True, False, True, False, True]
    assert books.balance() == (10, 0, 10)


def test_no_more_run_at_once_than_allowed(books: Books) -> None:
    payer = books.payer(books.key(max_concurrent=2))
    first_one, second = books.hold(payer, 1), books.hold(payer, 1)
    with pytest.raises(RateLimitExceededError) as refused:
        books.hold(payer, 1)
    assert refused.value.retry_after == 1
    books.release(first_one)
    third = books.hold(payer, 1)
    books.settle(second)
    books.settle(third)
    assert books.held_rows() == 0
    assert books.findings() == []


# --- two processes


def _spender(url: str, pipe: Pipe) -> None:
    """Another process: tries requests at once, again and again, and tells what became of each."""
    with opened(url) as books:
        while (task := pipe.recv()) is not None:
            payer, amount, count = task
            start, told = threading.Barrier(count + 1), list[str]()
            threads = [threading.Thread(target=_spend, args=(books, payer, amount, start, told)) for _ in range(count)]
            for thread in threads:
                thread.start()
            pipe.send("ready")
            pipe.recv()
            start.wait(60)
            for thread in threads:
                thread.join(60)
            pipe.send(told)


def _spend(books: Books, payer: Payer, amount: int, start: threading.Barrier, told: list[str]) -> None:
    start.wait(60)
    try:
        books.writer.submit(holds.hold, wanted(payer, amount)).result(60)
        told.append("granted")
    except EmbedRouterError as error:
        told.append(type(error).__name__)


@contextlib.contextmanager
def _two_processes(books: Books) -> Iterator[Callable[[Payer, int], list[str]]]:
    """Gives what becomes of 200 requests, half of them from each of two processes, all at once."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    processes = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=_spender, args=(books.url, theirs))
        process.start()
        pipes.append(ours)
        processes.append(process)

    def spend(payer: Payer, amount: int) -> list[str]:
        for pipe in pipes:
            pipe.send((payer, amount, 100))
        assert [pipe.recv() for pipe in pipes] == ["ready", "ready"]
        for pipe in pipes:
            pipe.send("go")
        return [outcome for pipe in pipes for outcome in pipe.recv()]

    yield spend
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join(60)
        assert process.exitcode == 0


def test_of_200_requests_from_two_processes_just_those_are_granted_that_fit(books: Books) -> None:
    """Attack 40: the last cent."""
    books.credit(_CENT)
    last_cent = books.payer(books.key(), enforce=True)
    busy = books.payer(books.key(max_concurrent=5))
    books.budget("day", 50)
    spare = {
        "PaymentRequiredError": (books.payer(books.key(limit_pico=9), budget=("day",)), 9),
        "RateLimitExceededError": (books.payer(books.key(requests_per_minute=7), budget=("day",)), 7),
        "PermissionDeniedError": (books.payer(books.key(), budget=("day",)), 34),  # what these two leave of the budget
    }
    with _two_processes(books) as spend:
        told = spend(last_cent, _CENT // 7)
        assert (told.count("granted"), told.count("PaymentRequiredError")) == (7, 193)
        assert books.balance() == (_CENT, 0, _CENT // 7 * 7)
        for refusal, (payer, fit) in spare.items():
            told = spend(payer, 1)
            assert (told.count("granted"), told.count(refusal)) == (fit, 200 - fit)
        told = spend(busy, 1)
        assert (told.count("granted"), told.count("RateLimitExceededError")) == (5, 195)
    assert books.held_rows() == 7 + 9 + 7 + 34 + 5
    assert books.findings() == []


# --- dead processes


def _ledger(books: Books, name: str) -> Ledger:
    return Ledger(books.database, books.writer, Instance(name, "host", 1, NOON))


def test_what_a_dead_process_held_is_released_and_what_a_living_one_holds_is_not(books: Books) -> None:
    """Attack 43."""
    books.credit(100)
    payer = books.payer(books.key(), enforce=True)
    living, dead = _ledger(books, INSTANCE), _ledger(books, "dead")
    living.beat()
    dead.beat()
    mine = books.hold(payer, 10)
    books.do(holds.hold, wanted(payer, 20)._replace(instance_id="dead"))
    living.beat()
    assert books.balance() == (100, 0, 30)
    books.age("dead", book.DEAD_AFTER + 1_000_000)
    living.beat()
    assert books.balance() == (100, 0, 10)
    books.settle(mine)
    assert books.findings() == []


def test_a_hold_of_a_process_that_nobody_knows_is_released(books: Books) -> None:
    """One that was thought dead, went on, and died before it could say that it lives."""
    books.credit(100)
    books.do(holds.hold, wanted(books.payer(books.key(), enforce=True), 20)._replace(instance_id="unknown"))
    _ledger(books, INSTANCE).beat()
    assert books.balance() == (100, 0, 0)
    assert books.held_rows() == 0


def test_a_process_that_signs_off_holds_nothing(books: Books) -> None:
    books.credit(100)
    ledger = _ledger(books, INSTANCE)
    ledger.beat()
    books.hold(books.payer(books.key(), enforce=True), 20)
    ledger.close()
    assert books.balance() == (100, 0, 0)


# --- anything, in any order


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_in_whatever_order_the_books_agree_and_no_limit_is_exceeded(books: Books, seed: int) -> None:
    chance = random.Random(seed)
    books.credit(400)
    books.budget("day", 300)
    limited = [books.key(limit_pico=120, limit_reset="day"), books.key(limit_pico=150), books.key(max_concurrent=3)]
    payers = [books.payer(key, enforce=True, budget=("day",)) for key in limited]
    ledgers = {name: _ledger(books, name) for name in ("a", "b")}
    for ledger in ledgers.values():
        ledger.beat()
    held: list[Hold] = []  # as the processes think; some were released behind their back
    spent = 0

    def request() -> None:
        payer = chance.choice(payers)
        asked = wanted(payer, chance.randrange(30))._replace(instance_id=chance.choice("ab"))
        with contextlib.suppress(PaymentRequiredError, PermissionDeniedError, RateLimitExceededError):
            held.append(books.do(holds.hold, asked, again=chance.random() < 0.2))

    def settle() -> None:
        nonlocal spent
        hold = held.pop(chance.randrange(len(held)))
        free = chance.random() < 0.2
        try:
            books.settle(hold, 0 if free else None, status=502 if free else 200)
        except OverloadedError:
            books.release(hold)
        else:
            spent += 0 if free else hold.amount.pico
            if chance.random() < 0.3:
                books.settle(hold, again=True)

    def release() -> None:
        hold = held.pop(chance.randrange(len(held)))
        for _ in range(chance.randrange(1, 3)):
            books.release(hold)

    def crash() -> None:
        """The one is not heard of for a while: the other releases what it held; it may go on all the same."""
        dead = chance.choice("ab")
        books.age(dead, book.DEAD_AFTER + 1_000_000)
        ledgers["b" if dead == "a" else "a"].beat()
        if chance.random() < 0.5:
            held[:] = [hold for hold in held if hold.instance_id != dead]
        ledgers[dead].beat()

    steps: list[Callable[[], Any]] = [request, request, request, settle, settle, release, crash]
    for number in range(100):
        step = chance.choices(steps, (5, 5, 5, 4, 4, 2, 1))[0]
        if held or step in (request, crash):
            step()
        balance = books.balance()
        assert balance.spent_pico == spent
        assert 0 <= balance.spent_pico + balance.held_pico <= 400
        assert sum(books.spent("workspace", first.WORKSPACE, "day")) <= 300
        assert sum(books.spent("key", str(limited[0].id), "day")) <= 120
        assert sum(books.spent("key", str(limited[1].id))) <= 150
        if number % 30 == 29:
            assert books.findings() == []
    for ledger in ledgers.values():
        ledger.close()
    assert books.balance() == (400, spent, 0)
    assert books.held_rows() == 0
    assert books.findings() == []


def test_the_refusal_of_an_expired_reservation_is_not_tried_for_ever(books: Books) -> None:
    """Else one such write would keep everything else waiting that is owed."""
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    late = books.hold(payer, 6)
    books.release(late)
    books.settle(books.hold(payer, 6))
    with pytest.raises(EmbedRouterError) as refused:
        books.do(generations.settle, settlement(late))
    assert not isinstance(refused.value, StoreUnavailableError)


def test_an_account_is_what_everybody_pays_from(books: Books) -> None:
    books.credit(100)
    for enforce in (True, False):
        payer = books.payer(books.key(), enforce=enforce)
        books.settle(books.hold(payer, 10))
    assert books.spent("account", ACCOUNT) == (20, 0)
