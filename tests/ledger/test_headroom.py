"""Requests that hold nothing since their limits are far away: they always fit, and no limit is passed."""

import random
from typing import NamedTuple

import pytest

from embedrouter.errors import EmbedRouterError
from embedrouter.ledger import generations, holds
from embedrouter.ledger.claims import Amount, Left
from embedrouter.ledger.headroom import Expected, Headroom
from embedrouter.ledger.holds import Hold, Room
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.rates import Ahead
from ledger.books import NOON, Books, settlement, wanted

_SECOND = 1_000_000  # microseconds


class Running(NamedTuple):
    expected: Expected
    hold: Hold
    late: bool


class Process:
    """One that is alone with its database, as the gateway acts."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.headroom = Headroom()
        self.late = 0

    def begin(self, payer: Payer, amount: int, tokens: int, at: int) -> Running | None:
        """None where it is refused."""
        claims = payer.claims(NOON)
        expected = Expected(payer, claims, Amount(amount), tokens)
        asked = wanted(payer, amount, at, tokens=tokens)._replace(claims=claims)
        self.headroom.begin(expected)
        if self.headroom.is_far(expected, at):
            self.headroom.admit_late(expected)
            self.late += 1
            return Running(expected, asked, late=True)
        beside = self.headroom.beside(claims, payer.key_id)
        asked = asked._replace(beside=beside.amounts, beside_requests=beside.requests)
        found = self.books.writer.submit(holds.hold, asked)
        if found.exception(60) is None:
            return Running(expected, found.result(), late=False)
        assert isinstance(found.exception(), EmbedRouterError)
        self.headroom.end(expected, late=False)
        return None

    def finish(self, one: Running, cost: int, tokens: int, at: int) -> None:
        """Raises what refuses it, which never happens."""
        asked = one.hold._replace(amount=Amount(cost), tokens=tokens, at=at)
        done = settlement(one.hold, cost)
        made = (done._replace(hold=None, asked=asked) if one.late else done)._replace(looks_round=True)
        self.headroom.saw(self.books.do(generations.settle, made))
        self.headroom.end(one.expected, late=one.late)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_together_late_requests_fit_and_limits_hold(books: Books, seed: int) -> None:
    chance = random.Random(seed)
    limit, a_minute = chance.choice([(2_000, 40), (300, 1_000), (100_000, 12)])
    books.credit(limit * 2)
    key = books.key(limit_pico=limit, requests_per_minute=a_minute, tokens_per_minute=a_minute * 50)
    payer = books.payer(key, enforce=True)
    process, running, at = Process(books), list[Running](), NOON
    for _ in range(150):
        at += chance.choice((0, 1_000, 100_000, _SECOND))
        if running and (chance.random() < 0.5 or len(running) > 12):
            one = running.pop(chance.randrange(len(running)))
            cost = chance.randint(0, one.expected.amount.pico)
            process.finish(one, cost, chance.randint(0, one.expected.tokens), at)
        else:
            begun = process.begin(payer, chance.choice((1, 5, 50, limit // 3)), chance.choice((1, 30)), at)
            running += [begun] if begun else []
    for one in running:
        process.finish(one, one.expected.amount.pico, one.expected.tokens, at)
    spent, held = books.spent("key", str(payer.key_id))
    assert spent <= limit
    assert held == 0
    assert process.late > 0
    assert books.findings() == []


def _payer(requests: int | None = None, tokens: int | None = None) -> Payer:
    return Payer(1, "w", "a", key_limit="total", requests_per_minute=requests, tokens_per_minute=tokens)


def _expected(payer: Payer, amount: int, tokens: int = 1) -> Expected:
    return Expected(payer, payer.claims(NOON), Amount(amount), tokens)


def test_what_was_never_looked_at_is_not_far() -> None:
    headroom, one = Headroom(), _expected(_payer(), 1)
    headroom.begin(one)
    assert not headroom.is_far(one, NOON)


def test_half_of_what_is_left_may_be_under_way() -> None:
    headroom, one = Headroom(), _expected(_payer(), 10)
    headroom.saw(Room({one.claims[0]: Left(40, counts_byok=False)}, {}))
    for far in (True, True, False):
        headroom.begin(one)
        assert headroom.is_far(one, NOON) is far
    headroom.end(one, late=False)
    assert headroom.is_far(one, NOON)


def test_rates_are_far_while_half_of_their_minute_is_there() -> None:
    payer = _payer(requests=4, tokens=100)
    headroom, one = Headroom(), _expected(payer, 0, tokens=20)
    now = NOON * 1000
    headroom.saw(Room({one.claims[0]: Left(40, counts_byok=False)}, {1: Ahead(now, now)}))
    for far in (True, True, False):  # 4 requests fit; two may be under way
        headroom.begin(one)
        assert headroom.is_far(one, NOON) is far
    headroom.end(one, late=False)
    headroom.saw(Room({}, {1: Ahead(now + 1, now)}))
    assert not headroom.is_far(one, NOON)
    headroom.end(one, late=False)
    many = one._replace(tokens=31)
    headroom.begin(many)
    assert not headroom.is_far(many, NOON)


def test_after_a_refusal_the_database_is_asked_again() -> None:
    headroom, one = Headroom(), _expected(_payer(), 1)
    headroom.saw(Room({one.claims[0]: Left(1000, counts_byok=False)}, {}))
    headroom.begin(one)
    assert headroom.is_far(one, NOON)
    headroom.forget(one.payer)
    assert not headroom.is_far(one, NOON)


def test_who_holds_leaves_room_for_those_who_do_not(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=100, requests_per_minute=3))
    refused = wanted(payer, 60)._replace(beside=(Amount(41),))
    for asked in (refused, wanted(payer, 60)._replace(beside_requests=3)):
        assert isinstance(books.writer.submit(holds.hold, asked).exception(60), EmbedRouterError)
    books.do(holds.hold, wanted(payer, 60)._replace(beside=(Amount(40),), beside_requests=2))
    assert books.spent("key", str(payer.key_id)) == (0, 60)
