from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from embedrouter.accounts import first, keys
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import NewKey, digest_of
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import Generation, Settlement, settle
from embedrouter.ledger.holds import Hold, hold
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.spent import NOTHING, Budget, Spent, Sum, budgets_of, spent_by_keys, spent_by_workspace
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate
from embedrouter.store.tables import budgets


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


_NOW = _at("2026-03-04T12:00:00")  # a Wednesday


class Books:
    """A database whose ledger is written by hand."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.database = Database(url)
        migrate(self.database)
        self.writer = Writer(self.database)
        first.prepare(self.writer, first.Wanted(None, None, False, data_dir))
        self.settled = 0

    def spend(self, key_id: int, when: str, cost: int) -> None:
        """Settle a generation."""
        self.settled += 1
        generation = Generation(
            id=f"gen-{self.settled}", created_at=_at(when), key_id=key_id, workspace_id=WORKSPACE, owner_id=None,
            app_id=0, public=True, api_type="embeddings", model="m", model_permaslug="m", endpoint="e",
            provider_name="p", status=200, error_type=None, cancelled=False, inputs=1, prompt_tokens=1, cost_pico=cost,
            is_byok=False, latency_us=1, generation_us=1, attempts="[]", origin="", http_referer=None, user_agent=None,
            external_user=None, session_id=None, request_id=None, cache_source_id=None,
        )  # fmt: skip
        self.writer.submit(settle, Settlement(generation, Payer(key_id, WORKSPACE, "main"))).result()

    def of(self, *key_ids: int) -> dict[int, Spent]:
        return dict(self.database.read_now(lambda connection: spent_by_keys(connection, key_ids, _NOW)))


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Iterator[Books]:
    opened = Books(database_url, tmp_path)
    yield opened
    opened.writer.close()
    opened.database.close()


def test_each_period_counts_what_is_in_it(books: Books) -> None:
    for when, cost in (
        ("2025-12-31T00:00:00", 1),  # another year
        ("2026-02-28T23:59:59", 10),  # the month before, and the week before
        ("2026-03-01T23:59:59", 100),  # a Sunday: this month, the week before
        ("2026-03-02T00:00:00", 1_000),  # Monday
        ("2026-03-03T23:59:59", 10_000),  # yesterday
        ("2026-03-04T00:00:00", 100_000),  # today
    ):
        books.spend(7, when, cost)
    books.spend(8, "2026-03-04T01:00:00", 5)
    books.spend(77, "2026-03-04T01:00:00", 9)
    found = books.of(7, 8, 9)
    assert found[7] == Spent(
        total=Sum(111_111), month=Sum(111_100), week=Sum(111_000), day=Sum(100_000), last_at=_at("2026-03-04T00:00:00")
    )
    assert found[8].total == found[8].day == Sum(5)
    assert 9 not in found, "it has spent nothing"
    together = books.database.read_now(lambda connection: spent_by_workspace(connection, WORKSPACE, _NOW))
    assert together.day == Sum(100_014)


def test_held_money_is_gone_but_is_no_use_of_a_key(books: Books) -> None:
    wanted = NewKey(digest_of("x"), "x", "x", "api", 1, WORKSPACE, limit_pico=100, limit_reset="day")
    key = books.writer.submit(keys.create, wanted).result()
    payer = Payer(key.id, WORKSPACE, "main", key_limit="day")
    books.writer.submit(hold, Hold("gen-h", "i", payer, payer.claims(_NOW), Amount(30), 1, _NOW)).result()
    spent = books.of(key.id)[key.id]
    assert spent == Spent(day=Sum(0, 30))
    assert spent.left(100, "day", byok=False) == 70
    assert spent.left(20, "day", byok=False) == 0
    assert spent.last_at is None


def test_budgets_come_shortest_first(books: Books) -> None:
    for period, limit in (("total", 0), ("day", 1), ("month", 2)):
        row = {"workspace_id": WORKSPACE, "period": period, "limit_pico": limit}
        books.writer.submit(_add_budget, row).result()
    found = books.database.read_now(lambda connection: budgets_of(connection, WORKSPACE))
    assert found == [Budget("day", 1, False), Budget("month", 2, False), Budget("total", 0, False)]


def test_nothing_is_left_of_nothing() -> None:
    assert NOTHING.left(0, "total", byok=False) == 0
    assert NOTHING.left(5, "week", byok=False) == 5


def _add_budget(batch: Batch, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    batch.connection.execute(insert(budgets), rows)
    return [None] * len(rows)
