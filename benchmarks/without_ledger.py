"""`embedrouter` with the ledger taken out, as the base line of benchmarks/ledger.py. Not for use.

Keys are still looked up; nothing is held, nothing is written.
"""

from embedrouter.cli import main
from embedrouter.ledger.book import Ledger
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.holds import Hold, Payer


async def hold(self: Ledger, payer: Payer, generation_id: str, amount: int, tokens: int, at: int) -> Hold:
    return Hold(generation_id, self.instance.id, payer, (), amount, tokens, at)


async def settle(_: Ledger, __: Settlement) -> None:
    return None


def give_back(_: Ledger, __: Hold) -> None:
    return None


def note(_: Ledger, __: Settlement) -> None:
    return None


Ledger.hold = hold  # type: ignore[method-assign]
Ledger.settle = settle  # type: ignore[method-assign]
Ledger.give_back = give_back  # type: ignore[method-assign]
Ledger.note = note  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
