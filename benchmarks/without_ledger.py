"""`embedrouter` with the ledger taken out, as the base line of benchmarks/accounting.py. Not for use.

Keys are still looked up; nothing is held, nothing is written.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from unittest.mock import patch

from embedrouter.cli import main
from embedrouter.ledger.book import Ledger
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.holds import Hold
from embedrouter.ledger.payer import Payer

T = TypeVar("T")


class NoLedger(Ledger):
    """Takes everything and does nothing."""

    async def hold(self, payer: Payer, generation_id: str, amount: Amount, tokens: int, at: int) -> Hold:
        return Hold(generation_id, self.instance.id, payer, (), amount, tokens, at)

    async def settle(self, settlement: Settlement, meanwhile: Callable[[], Awaitable[T]]) -> T:
        return await meanwhile()

    def give_back(self, hold: Hold) -> None:
        pass

    def note(self, settlement: Settlement) -> None:
        pass


if __name__ == "__main__":
    with patch("embedrouter.app.Ledger", NoLedger):
        main()
