import itertools
import random
from typing import NamedTuple

import pytest

from embedrouter.errors import RateLimitExceededError
from embedrouter.ledger import holds
from embedrouter.ledger.payer import Payer
from ledger.books import NOON, Books, wanted

_SECOND = 1_000_000  # microseconds
_MINUTE = 60 * _SECOND


class Reference:
    """GCRA as in the books: a bucket of `limit`, full at first, that refills evenly in a minute. Exact fractions."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0  # of the bucket, in units of 1 / _MINUTE
        self._at = 0

    def admits(self, at: int, amount: int) -> bool:
        refilled = max(0, at - self._at) * self._limit
        used = max(0, self._used - refilled)
        if used + amount * _MINUTE > self._limit * _MINUTE:
            return False
        self._used, self._at = used + amount * _MINUTE, max(at, self._at)
        return True


class Try(NamedTuple):
    at: int
    tokens: int


def _tries(seed: int, limit: int) -> list[Try]:
    """Bursts, pauses and steady streams, at the edges of what the limit lets through."""
    chance = random.Random(seed)
    at, made = NOON, []
    for _ in range(120):
        step = _MINUTE // limit
        at += chance.choice((0, 0, 1, step - 1, step, step + 1, chance.randrange(2 * step), _MINUTE))
        made.append(Try(at, chance.choice((1, 1, 2, limit // 3 + 1, limit))))
    return made


def _admitted(books: Books, asked: list[tuple[Payer, Try]]) -> list[bool]:
    found = []
    for payer, (at, tokens) in asked:
        error = books.writer.submit(holds.hold, wanted(payer, 0, at, tokens=tokens)).exception(60)
        assert error is None or isinstance(error, RateLimitExceededError)
        found.append(error is None)
    return found


@pytest.mark.parametrize("limit", [1, 2, 7, 60, 61, 1_000])
def test_requests_a_minute_are_exact(books: Books, limit: int) -> None:
    payer = books.payer(books.key(requests_per_minute=limit))
    tries = _tries(limit, limit)
    reference = Reference(limit)
    expected = [reference.admits(at, 1) for at, _ in tries]
    assert True in expected
    assert _admitted(books, [(payer, one) for one in tries]) == expected


@pytest.mark.parametrize("limit", [3, 100, 99_999, 1_000_000])
def test_tokens_a_minute_are_exact(books: Books, limit: int) -> None:
    payer = books.payer(books.key(tokens_per_minute=limit))
    tries = _tries(limit, limit)
    reference = Reference(limit)
    expected = [reference.admits(at, tokens) for at, tokens in tries]
    assert True in expected
    assert False in expected
    assert _admitted(books, [(payer, one) for one in tries]) == expected


@pytest.mark.parametrize("limit", [1, 3, 7, 11, 13, 59, 601])
def test_a_burst_of_the_whole_limit_passes_and_not_one_more(books: Books, limit: int) -> None:
    """Whether it comes one by one or all at once, which the writer tries as one."""
    one_by_one, at_once = (books.payer(books.key(requests_per_minute=limit)) for _ in range(2))
    assert _admitted(books, [(one_by_one, Try(NOON, 1))] * (limit + 3)).count(True) == limit
    futures = [books.writer.submit(holds.hold, wanted(at_once, 0)) for _ in range(limit + 3)]
    assert [future.exception(60) is None for future in futures].count(True) == limit


def test_the_next_request_passes_exactly_when_it_was_promised(books: Books) -> None:
    payer = books.payer(books.key(requests_per_minute=6))
    for _ in range(6):
        books.hold(payer, 0)
    for wait in (0, 9 * _SECOND, 10 * _SECOND - 1):
        with pytest.raises(RateLimitExceededError) as refused:
            books.hold(payer, 0, NOON + wait)
        assert refused.value.retry_after == -(-(10 * _SECOND - wait) // _SECOND)
        assert refused.value.headers["X-RateLimit-Limit"] == "6"
        assert refused.value.headers["X-RateLimit-Remaining"] == "0"
        assert refused.value.headers["X-RateLimit-Reset"] == str((NOON + 10 * _SECOND) // 1000)
    books.hold(payer, 0, NOON + 10 * _SECOND)


def test_a_request_larger_than_a_minutes_tokens_never_fits_and_is_told_so(books: Books) -> None:
    payer = books.payer(books.key(tokens_per_minute=100))
    with pytest.raises(RateLimitExceededError, match="send fewer at a time") as refused:
        books.hold(payer, 0, tokens=101)
    assert refused.value.retry_after is None
    books.hold(payer, 0, tokens=100)


def test_what_one_limit_refuses_uses_up_nothing_of_the_other(books: Books) -> None:
    payer = books.payer(books.key(requests_per_minute=2, tokens_per_minute=100))
    books.hold(payer, 0, tokens=90)
    for _ in range(5):
        with pytest.raises(RateLimitExceededError, match="tokens"):
            books.hold(payer, 0, tokens=20)
    books.hold(payer, 0, tokens=10)
    with pytest.raises(RateLimitExceededError, match="requests"):
        books.hold(payer, 0, tokens=0)


def test_a_minutes_edge_does_not_double_the_limit(books: Books) -> None:
    """Attack 39: The limit is even: a full burst at 11:59:59.9 leaves nothing for 12:00:00."""
    payer = books.payer(books.key(requests_per_minute=10))
    assert _admitted(books, [(payer, Try(NOON - 100_000, 1))] * 10) == [True] * 10
    assert _admitted(books, [(payer, Try(NOON, 1))] * 10) == [False] * 10


@pytest.mark.parametrize("back", [1, 1_000, _SECOND, 4 * _SECOND])
def test_a_clock_that_steps_back_a_little_gives_nothing_away(books: Books, back: int) -> None:
    """Attack 39: As between two machines whose clocks differ."""
    payer = books.payer(books.key(requests_per_minute=5))
    assert _admitted(books, [(payer, Try(NOON, 1))] * 5) == [True] * 5
    assert _admitted(books, [(payer, Try(NOON - back, 1))] * 5) == [False] * 5


@pytest.mark.parametrize("back", [_MINUTE, 60 * _MINUTE, 365 * 24 * 60 * _MINUTE])
def test_a_clock_that_jumps_back_far_locks_nobody_out(books: Books, back: int) -> None:
    """Attacks 39 and 46."""
    payer = books.payer(books.key(requests_per_minute=5))
    assert _admitted(books, [(payer, Try(NOON, 1))] * 5) == [True] * 5
    after = NOON - back
    assert _admitted(books, [(payer, Try(after, 1))] * 8) == [True] * 5 + [False] * 3
    assert _admitted(books, [(payer, Try(after + _MINUTE // 5, 1))] * 2) == [True, False]


def test_a_clock_that_jumps_forward_gives_one_burst_and_no_more(books: Books) -> None:
    """Attacks 39 and 46."""
    payer = books.payer(books.key(requests_per_minute=5))
    for at in (NOON, NOON + 10**15):
        assert _admitted(books, [(payer, Try(at, 1))] * 8) == [True] * 5 + [False] * 3


def test_a_limit_that_is_changed_counts_at_once(books: Books) -> None:
    key = books.key(requests_per_minute=60)
    assert _admitted(books, [(books.payer(key), Try(NOON, 1))] * 61).count(True) == 60
    books.change(key, requests_per_minute=2)
    slower = books.payer(key)
    assert _admitted(books, [(slower, Try(NOON + 29 * _SECOND, 1)), (slower, Try(NOON + 30 * _SECOND, 1))]) == [
        False,
        True,
    ]
    books.change(key, requests_per_minute=None)
    assert _admitted(books, [(books.payer(key), Try(NOON, 1))] * 10) == [True] * 10


def test_keys_do_not_share_their_rates(books: Books) -> None:
    payers = [books.payer(books.key(requests_per_minute=1)) for _ in range(3)]
    asked = list(itertools.chain.from_iterable((payer, payer) for payer in payers))
    futures = [books.writer.submit(holds.hold, wanted(payer, 0)) for payer in asked]
    assert [future.exception(60) is None for future in futures] == [True, False] * 3
