"""How far this process knows its payers to be from their limits."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from embedrouter.ledger.claims import Amount, Claim, Left
from embedrouter.ledger.holds import Room
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.rates import MINUTE, cost_of

T = TypeVar("T")

_MOST: Final = 20_000  # limits remembered


class Expected(NamedTuple):
    """The most that a request under way may come to."""

    payer: Payer
    claims: tuple[Claim, ...]
    amount: Amount
    tokens: int


class Beside(NamedTuple):
    """What is under way without being held."""

    amounts: tuple[Amount, ...]  # of each claim
    requests: int


_NOTHING: Final = Beside((), 0)


class Headroom:
    """What was left of limits when last looked at, and what requests under way may take of it.

    Tells the truth only to a process that is alone with its database. Belongs to the event loop.
    """

    def __init__(self) -> None:
        self._left: dict[Claim, Left] = {}
        self._until: dict[int, tuple[int, int]] = {}  # ns: when a key's requests and tokens were used up to
        self._money = _Money()
        self._requests: Counter[int] = Counter()
        self._tokens: Counter[int] = Counter()
        self._late_money = _Money()  # of those that hold nothing meanwhile
        self._late_requests: Counter[int] = Counter()

    def begin(self, one: Expected) -> None:
        """A request is under way."""
        self._money.add(one)
        self._requests[one.payer.key_id] += 1
        self._tokens[one.payer.key_id] += one.tokens

    def admit_late(self, one: Expected) -> None:
        """It holds nothing until it is settled; who holds meanwhile must leave it room."""
        self._late_money.add(one)
        self._late_requests[one.payer.key_id] += 1

    def end(self, one: Expected, *, late: bool) -> None:
        """It is settled, or was given up. late: as admitted above."""
        key_id = one.payer.key_id
        self._money.take(one)
        _take(self._requests, key_id, 1)
        _take(self._tokens, key_id, one.tokens)
        if late:
            self._late_money.take(one)
            _take(self._late_requests, key_id, 1)

    def beside(self, claims: Sequence[Claim], key_id: int) -> Beside:
        """What to leave room for."""
        if not self._late_requests:
            return _NOTHING
        return Beside(tuple(self._late_money.of(claim) for claim in claims), self._late_requests[key_id])

    def saw(self, room: Room) -> None:
        """What a transaction that settled requests found."""
        if len(self._left) + len(self._until) > _MOST:
            self._left.clear()
            self._until.clear()
        self._left.update(room.money)
        self._until.update(room.rates)

    def forget(self, payer: Payer) -> None:
        """A limit of its was reached after all: it is asked for in the database until that was looked at again."""
        self._until.pop(payer.key_id, None)
        for claim in [one for one in self._left if one.scope != "key" or one.scope_id == str(payer.key_id)]:
            del self._left[claim]

    def is_far(self, one: Expected, now: int) -> bool:
        """Whether all that is under way, this one (begun already) included, is at most half of what is left.

        now: microseconds. Half, so that what others change meanwhile (a limit that is lowered) seldom matters.
        """
        for claim in one.claims:
            left = self._left.get(claim)
            if left is None or 2 * self._money.of(claim).of(counts_byok=left.counts_byok) > left.pico:
                return False
        return not one.payer.rated or self._rates_are_far(one.payer, now * 1000)

    def _rates_are_far(self, payer: Payer, now: int) -> bool:
        until = self._until.get(payer.key_id)
        if until is None:
            return False
        limits = (payer.requests_per_minute, payer.tokens_per_minute)
        asked = (self._requests[payer.key_id], self._tokens[payer.key_id])
        return all(
            limit is None or 2 * cost_of(amount, limit) <= MINUTE - max(0, used_up - now)
            for limit, amount, used_up in zip(limits, asked, until, strict=True)
        )


class _Money:
    """Of requests under way, by claim."""

    def __init__(self) -> None:
        self._pico: Counter[Claim] = Counter()
        self._byok_pico: Counter[Claim] = Counter()

    def of(self, claim: Claim) -> Amount:
        return Amount(self._pico[claim], self._byok_pico[claim])

    def add(self, one: Expected) -> None:
        for claim in one.claims:
            self._pico[claim] += one.amount.pico
            if one.amount.byok_pico:
                self._byok_pico[claim] += one.amount.byok_pico

    def take(self, one: Expected) -> None:
        for claim in one.claims:
            _take(self._pico, claim, one.amount.pico)
            if one.amount.byok_pico:
                _take(self._byok_pico, claim, one.amount.byok_pico)


def _take(counts: Counter[T], of: T, amount: int) -> None:
    counts[of] -= amount
    if not counts[of]:
        del counts[of]
