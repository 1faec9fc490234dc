import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from embedrouter.ledger import generations
from embedrouter.store import Batch
from ledger.books import NOON, Books, settlement, wanted


def test_empty_books_agree(books: Books) -> None:
    assert books.findings() == []


def test_books_agree_while_they_are_written(books: Books) -> None:
    """The doctor reads everything in one snapshot, so it may run beside a server under load."""
    payer = books.payer(books.key())
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            futures = [
                books.writer.submit(generations.settle, settlement(wanted(payer, 7, NOON + number * 1_000_000_000)))
                for _ in range(8)
            ]
            for future in futures:
                future.result(60)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = [books.findings() for _ in range(15)]
    finally:
        stop.set()
        thread.join(60)
    assert found == [[]] * 15
    assert books.generations() > 15


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE generations SET cost_pico = cost_pico + 1", "usage"),
        ("DELETE FROM generations", "usage"),
        ("UPDATE usage SET cost_pico = cost_pico + 1", "usage (cost_pico)"),
        ("UPDATE usage SET requests = requests + 1", "usage (requests)"),
        ("UPDATE ledger SET amount_pico = amount_pico - 1 WHERE kind = 'usage'", "usage entry"),
        ("UPDATE ledger SET amount_pico = amount_pico + 1 WHERE kind = 'top_up'", "credits of an account"),
        ("UPDATE accounts SET credited_pico = credited_pico + 1", "credits of an account"),
        ("UPDATE spending SET spent_pico = spent_pico + 1 WHERE scope = 'account'", "balance"),
        ("UPDATE spending SET spent_pico = spent_pico + 1 WHERE scope = 'key'", "spending of a key"),
        ("UPDATE spending SET spent_pico = spent_pico + 1 WHERE scope = 'workspace'", "spending of a workspace"),
        ("UPDATE spending SET held_pico = held_pico + 1 WHERE scope = 'account'", "held money"),
        ("DELETE FROM holds", "held money"),
        ("UPDATE generations SET status = 502", "generation"),
        ("UPDATE usage SET failures = failures + 1", "usage (failures)"),
    ],
)
def test_every_disagreement_is_named(books: Books, damage: str, told: str) -> None:
    books.credit(100)
    payer = books.payer(books.key(), enforce=True)
    books.settle(books.hold(payer, 10))
    books.hold(payer, 20)
    assert books.findings() == []
    books.do(_execute, damage)
    found = books.findings()
    assert any(finding.check.startswith(told) for finding in found), found


def _execute(batch: Batch, payloads: Sequence[str]) -> Sequence[None]:
    for statement in payloads:
        batch.connection.execute(text(statement))
    return [None] * len(payloads)
