"""Whether a request may run: by what it holds before, or by its settlement."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from embedrouter.ledger.book import REFUSALS, Ledger
from embedrouter.ledger.claims import NOTHING, Amount
from embedrouter.ledger.generations import Generation
from embedrouter.ledger.holds import Hold
from embedrouter.ledger.payer import Payer
from embedrouter.providers.counting import Counting
from embedrouter.work import Work

_SUSPICION: Final = 2.0  # seconds after a refusal or a departure: a key's requests are held before they are computed
_SUSPECTS: Final = 10_000  # keys remembered


class Admission:
    """One a process; belongs to the event loop."""

    def __init__(self, ledger: Ledger, counting: Counting) -> None:
        self._ledger = ledger
        self._counting = counting
        self._suspects: dict[int, float] = {}  # key id: time.monotonic() of its last refusal or departure

    def may_be_late(self, payer: Payer) -> bool:
        """A key at its limits must not have anybody compute in vain again and again."""
        lately = time.monotonic() - self._suspects.get(payer.key_id, -math.inf) < _SUSPICION
        return not lately and self._ledger.may_admit_late

    def admit_late(self, work: Work, price: int) -> bool:
        """Whether it is admitted with its settlement: what costs nobody money in vain need not be held first.

        price: pico-USD a token.
        """
        work.admitted_late = work.payer.limited and self.may_be_late(work.payer)
        if work.admitted_late and price:
            most = sum(work.request.most_tokens)
            self._ledger.headroom.begin(work.expect(Amount(most * price), most))
        return work.admitted_late

    async def admit(self, work: Work, most: int) -> None:
        """Hold the most that any candidate may ask of each limit for `most` tokens; nothing, where they are far away.

        Tokens are counted as exactly as can be for the rate. Raises EmbedRouterError.
        """
        price = max((one.endpoint.price.prompt for one in work.candidates if not one.byok), default=0)
        dearest = max((one.endpoint.price.prompt for one in work.candidates), default=0)
        amount = Amount(most * price, most * (dearest - price))
        expected = work.expect(amount, most)
        self._ledger.headroom.begin(expected)
        if self.may_be_late(work.payer) and self._ledger.is_far(expected):
            self._ledger.headroom.admit_late(expected)
            work.admitted_late = work.holds_nothing = True
            return
        texts, tokens = work.request.texts, most
        if texts is not None and work.payer.tokens_per_minute is not None:
            tokens = await self._counting.count(work.model.slug, texts)
        await self.hold(work, amount, tokens)

    async def hold(self, work: Work, amount: Amount, tokens: int) -> None:
        """amount: by list price. Raises EmbedRouterError."""
        charged = amount.pico * (100 - work.request.discount_percent) // 100
        await self._hold(work, work.payer, amount._replace(pico=charged), tokens)

    async def hold_place(self, work: Work) -> None:
        """Nothing but a place among those that may run at once. Raises EmbedRouterError."""
        await self._hold(work, work.payer.place, NOTHING, 0)

    def asked(self, work: Work, row: Generation) -> Hold | None:
        """What its settlement must ask for yet."""
        if not work.admitted_late:
            return None
        payer = work.payer._replace(max_concurrent=None)  # its place it has
        amount = Amount(row.cost_pico, row.upstream_pico)
        wanted = self._ledger.wanted(payer, row.id, amount, row.prompt_tokens, row.created_at)
        if work.holds_nothing:  # it is one of those that others leave room for
            wanted = wanted._replace(beside=(), beside_requests=0)
        return wanted

    def gave_up(self, work: Work) -> None:
        """It used a provider, and no rate: the key's next ones are held before they do."""
        if work.admitted_late:
            self._suspect(work.payer)

    def ended(self, work: Work) -> None:
        """It is not under way any more."""
        if work.expected is not None:
            self._ledger.headroom.end(work.expected, late=work.holds_nothing)

    @contextmanager
    def remembering_refusals(self, payer: Payer) -> Iterator[None]:
        """A key that was refused is held before it computes again."""
        try:
            yield
        except REFUSALS:
            self._suspect(payer)
            raise

    async def _hold(self, work: Work, payer: Payer, amount: Amount, tokens: int) -> None:
        with self.remembering_refusals(payer):
            work.hold = await self._ledger.hold(payer, work.origin.generation_id, amount, tokens, work.created_at)

    def _suspect(self, payer: Payer) -> None:
        if len(self._suspects) >= _SUSPECTS:
            self._suspects.clear()
        self._suspects[payer.key_id] = time.monotonic()
        self._ledger.headroom.forget(payer)
