"""Requests that are admitted with their settlement, in one transaction, instead of being held before."""

from collections import Counter
from concurrent.futures import Future
from typing import Any

import pytest

from embedrouter.errors import EmbedRouterError, PaymentRequiredError, RateLimitExceededError
from embedrouter.ledger import generations
from embedrouter.ledger.book import Instance, Ledger, now
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.payer import Payer
from ledger.books import NOON, Books, opened, settlement, wanted


def _late(payer: Payer, amount: int, at: int = NOON, *, tokens: int = 1, name: str = "") -> Settlement:
    asked = wanted(payer, amount, at, tokens=tokens, name=name)
    return settlement(asked)._replace(hold=None, asked=asked)


def _outcomes(futures: list["Future[Any]"]) -> list[str]:
    return [type(future.exception(60)).__name__ for future in futures]


def test_what_fits_is_charged_and_what_does_not_leaves_nothing(books: Books) -> None:
    books.credit(10)
    payer = books.payer(books.key(), enforce=True)
    futures = [books.writer.submit(generations.settle, _late(payer, amount)) for amount in (4, 20, 4, 4, 2)]
    assert _outcomes(futures) == ["NoneType", "PaymentRequiredError", "NoneType", "PaymentRequiredError", "NoneType"]
    assert books.balance() == (10, 10, 0)
    assert (books.generations(), books.held_rows()) == (3, 0)
    assert books.findings() == []


def test_it_does_not_take_what_is_held_for_others(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=10))
    held = books.hold(payer, 8)
    with pytest.raises(PaymentRequiredError):
        books.do(generations.settle, _late(payer, 3))
    books.do(generations.settle, _late(payer, 2))
    books.settle(held)
    assert books.spent("key", str(payer.key_id)) == (10, 0)
    assert books.findings() == []


def test_a_refused_rate_takes_no_money_and_a_refused_price_no_rate(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=100, requests_per_minute=2))
    with pytest.raises(PaymentRequiredError):
        books.do(generations.settle, _late(payer, 101))
    for _ in range(2):
        books.do(generations.settle, _late(payer, 1))
    with pytest.raises(RateLimitExceededError):
        books.do(generations.settle, _late(payer, 1))
    assert books.spent("key", str(payer.key_id)) == (2, 0)
    assert books.findings() == []


def test_a_second_try_charges_once(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=10))
    late = _late(payer, 6)
    books.do(generations.settle, late)
    books.do(generations.settle, late, again=True)
    assert books.spent("key", str(payer.key_id)) == (6, 0)
    books.do(generations.void, late)
    books.do(generations.void, late)
    assert books.spent("key", str(payer.key_id)) == (0, 0)
    assert books.findings() == []


def test_two_writers_charge_the_last_cent_once(books: Books) -> None:
    books.credit(1_000)
    payer = books.payer(books.key(), enforce=True)
    with opened(books.url) as other:
        futures = [
            one.writer.submit(generations.settle, _late(payer, 10, name=f"gen-{index}-{side}"))
            for index in range(100)
            for side, one in enumerate((books, other))
        ]
        assert Counter(_outcomes(futures)) == {"NoneType": 100, "PaymentRequiredError": 100}
    assert books.balance() == (1_000, 1_000, 0)
    assert books.generations() == 100
    assert books.findings() == []


def test_a_slow_request_is_held_against_the_rate_of_now_and_the_money_of_its_start(books: Books) -> None:
    """Else one that took long would look like a clock that jumped back, and reset the rate."""
    payer = books.payer(books.key(limit_pico=5, limit_reset="day", requests_per_minute=10))
    ledger = Ledger(books.database, books.writer, Instance("a", "host", 1, 0))
    yesterday = now() - 86_400_000_000
    asked = ledger.wanted(payer, "gen-1", Amount(1), 1, yesterday)
    assert now() - asked.at < 60_000_000
    assert asked.claims == payer.claims(yesterday)
    assert asked.claims != payer.claims(now())


def test_errors_are_told_as_before(books: Books) -> None:
    payer = books.payer(books.key(), enforce=True)
    with pytest.raises(EmbedRouterError) as refused:
        books.do(generations.settle, _late(payer, 5))
    assert refused.value.metadata["limit"] == "balance"
