from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, select

from embedrouter.errors import OverloadedError, PaymentRequiredError
from embedrouter.ledger import generations
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.holds import Room
from embedrouter.periods import start_of
from embedrouter.store import Batch
from embedrouter.store.tables import ledger, usage
from ledger.books import NOON, Books, settlement, wanted

_DAY = 86_400_000_000  # microseconds


def _rows(books: Books, table: Table) -> list[Any]:
    return books.database.read_now(lambda connection: list(connection.execute(select(table)).mappings()))


def test_a_settled_generation_is_there_at_once_with_all_its_sums(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=1000))
    hold = books.hold(payer, 70, tokens=14)
    books.settle(hold)
    row = books.database.read_now(lambda connection: generations.get(connection, hold.id))
    assert row is not None
    assert (row["cost_pico"], row["prompt_tokens"], row["status"], row["cancelled"]) == (70, 14, 200, False)
    (entry,) = _rows(books, ledger)
    assert (entry["kind"], entry["amount_pico"], entry["day"]) == ("usage", -70, start_of("day", NOON))
    (bucket,) = _rows(books, usage)
    assert (bucket["requests"], bucket["failures"], bucket["prompt_tokens"], bucket["cost_pico"]) == (1, 0, 14, 70)
    for period in ("total", "day", "week", "month"):
        assert books.spent("key", str(payer.key_id), period) == (70, 0)
        assert books.spent("workspace", payer.workspace_id, period) == (70, 0)
    assert books.findings() == []


def test_what_arrives_together_sums_to_the_same_as_one_by_one(books: Books) -> None:
    payers = [books.payer(books.key()) for _ in range(2)]
    costs = [3, 5, 7, 11, 13, 17]
    times = [NOON, NOON + 1, NOON + 900_000_000, NOON + _DAY, NOON + 31 * _DAY, NOON - _DAY]
    for payer in payers:
        made = [settlement(wanted(payer, cost, at)) for cost, at in zip(costs, times, strict=True)]
        for future in [books.writer.submit(generations.settle, one) for one in made]:
            assert isinstance(future.result(60), Room)
    for one in made[:2]:
        books.do(generations.settle, one, again=True)
    assert sum(row["cost_pico"] for row in _rows(books, usage)) == 2 * sum(costs)
    assert sum(row["requests"] for row in _rows(books, usage)) == 2 * len(costs)
    assert sum(row["amount_pico"] for row in _rows(books, ledger)) == -2 * sum(costs)
    assert len(_rows(books, ledger)) == 2 * 4  # one a key and day
    assert books.balance().spent_pico == 2 * sum(costs)
    assert books.findings() == []


def test_a_generation_that_failed_costs_nothing_and_lets_its_hold_go(books: Books) -> None:
    books.credit(100)
    payer = books.payer(books.key(), enforce=True)
    for status in (499, 502, 504, 500):
        books.settle(books.hold(payer, 100), 0, status=status)
    assert books.balance() == (100, 0, 0)
    assert [(row["requests"], row["failures"], row["cost_pico"]) for row in _rows(books, usage)] == [(4, 4, 0)]
    assert _rows(books, ledger)[0]["kind"] == "top_up"
    assert books.findings() == []


def test_a_settlement_tried_again_is_written_once(books: Books) -> None:
    hold = books.hold(books.payer(books.key(limit_pico=100)), 10)
    for _ in range(3):
        books.settle(hold, again=True)
    assert books.generations() == 1
    assert books.balance().spent_pico == 10
    assert books.findings() == []


def test_the_same_settlement_twice_at_once_is_written_once(books: Books) -> None:
    made = settlement(wanted(books.payer(books.key()), 10))
    futures = [books.writer.submit(generations.settle, made) for _ in range(2)]
    assert sorted(future.exception(60) is None for future in futures) == [False, True]
    assert books.generations() == 1
    assert books.balance().spent_pico == 10
    assert books.findings() == []


def test_a_settlement_can_be_taken_back_once_and_leaves_no_trace(books: Books) -> None:
    books.credit(100)
    payer = books.payer(books.key(limit_pico=100), enforce=True)
    kept, taken, never = (books.hold(payer, cost) for cost in (10, 20, 30))
    books.settle(kept)
    books.settle(taken)
    for _ in range(2):
        for hold in (taken, never):
            books.do(generations.void, settlement(hold))
    assert books.generations() == 1
    assert books.balance() == (100, 10, 0)
    assert books.spent("key", str(payer.key_id)) == (10, 0)
    assert sum(row["requests"] for row in _rows(books, usage)) == 1
    assert sum(row["latency_us"] for row in _rows(books, usage)) == 1_500
    assert books.findings() == []


def test_one_lost_reservation_does_not_take_the_others_down(books: Books) -> None:
    books.credit(30)
    payer = books.payer(books.key(), enforce=True)
    holds = [books.hold(payer, 10) for _ in range(3)]
    books.release(holds[1])
    books.settle(books.hold(payer, 10))
    assert _together(books, [settlement(hold) for hold in holds]) == [None, OverloadedError, None]
    assert books.balance() == (30, 30, 0)
    assert books.findings() == []


def test_what_is_admitted_with_its_settlement_fits_beside_what_is_settled_with_it(books: Books) -> None:
    """The money of a hold that is let go in the same transaction is spent, not free."""
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    held = settlement(books.hold(payer, 6))
    late = [wanted(payer, amount) for amount in (5, 3, 2)]
    asked = [settlement(one)._replace(hold=None, asked=one) for one in late]
    told = _together(books, [held, *asked])
    assert told == [None, PaymentRequiredError, None, PaymentRequiredError]
    assert books.balance() == (10, 9, 0)
    assert books.generations() == 2
    assert books.findings() == []


def test_a_lost_place_among_those_that_run_at_once_is_no_reason_to_refuse_or_to_overspend(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(max_concurrent=1), enforce=True)
    for amount, expected in ((6, None), (5, PaymentRequiredError)):
        place = books.hold(payer.place, 0)
        books.release(place)
        asked = wanted(payer, amount, name=place.id)
        made = settlement(asked)._replace(hold=place, asked=asked)
        assert _together(books, [made]) == [expected]
    assert books.balance() == (10, 6, 0)
    assert books.held_rows() == 0
    assert books.findings() == []


def _together(books: Books, settlements: list[Settlement]) -> list[type | None]:
    """What each is told that comes in one group of the writer's."""

    def settle(batch: Batch, payloads: Sequence[list[Settlement]]) -> Sequence[Any]:
        return [generations.settle(batch, one) for one in payloads]

    return [None if isinstance(answer, Room) else type(answer) for answer in books.do(settle, settlements)]
