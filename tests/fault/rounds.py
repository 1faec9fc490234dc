"""kill -9 under full load, again and again, on the same data; after each the books must agree with what clients saw.

By hand, from the folder `tests`: python -m fault.rounds --rounds 50 --database postgresql
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from embedrouter.ledger.book import DEAD_AFTER
from fault.bank import Bank
from fault.clients import Clients
from postgres import postgresql
from server import KEY, eventually, serving

_CLIENTS = 8


class Report(NamedTuple):
    """What all rounds came to."""

    rounds: int
    answered: int  # with 200, as clients saw it
    unread: int  # generations of answers that no client got to read: it left, or the server was killed
    statuses: dict[int, int]
    left: int  # clients that left before they were answered
    cancelled: int  # generations of requests that were given up
    holds: int  # that the killed servers left behind
    released: float  # seconds, the longest that it took another process to release them
    slowest: float  # seconds, of an answer
    seconds: float


def run(folder: Path, url: str, rounds: int, *, seed: int = 0, patient: bool = False) -> Report:
    """patient: wait until a killed server is found dead, instead of making it look dead."""
    started = time.monotonic()
    chance = random.Random(seed)
    bank = Bank(url)
    bank.endow()
    clients = Clients(lambda: port, KEY)
    left, released = 0, 0.0
    for number in range(rounds + 1):
        with serving(folder, database_url=url, billing="enforce", request_timeout_s=0.5) as server:
            port = server.port
            begun = time.monotonic()
            eventually(lambda: bank.holds() == 0, 15.0)
            released = max(released, time.monotonic() - begun)
            if number == rounds:
                break
            with clients.hammering(_CLIENTS, seed=seed * 1000 + number):
                time.sleep(0.2 + chance.random() * 1.5)
                server.process.kill()
                server.process.wait()
        left += bank.holds()
        bank.audit(clients.told)
        assert clients.bad == []
        if not patient:
            bank.age_instances(DEAD_AFTER)
    bank.audit(clients.told)
    assert bank.balance().held_pico == 0
    report = Report(
        rounds=rounds,
        answered=len(clients.told),
        unread=len(bank.costs()) - len(clients.told),
        statuses=dict(Counter(clients.statuses)),
        left=clients.left,
        cancelled=bank.count(status=499, cancelled=True),
        holds=left,
        released=released,
        slowest=clients.slowest,
        seconds=time.monotonic() - started,
    )
    bank.close()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patient", action="store_true", help="wait until a killed server is found dead by itself")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedrouter-rounds-")))
        if chosen.database == "sqlite":
            url = f"sqlite:///{folder / 'embedrouter.db'}"
        else:
            url = stack.enter_context(postgresql()).create_database()
        report = run(folder / "server", url, chosen.rounds, seed=chosen.seed, patient=chosen.patient)
    sys.stdout.write("\n".join(f"{name:10} {value}" for name, value in report._asdict().items()) + "\n")


if __name__ == "__main__":
    main()
