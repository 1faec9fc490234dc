"""What is old goes, by the settings; what was spent stays, and the books still agree."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from embedrouter.ledger.doctor import SPENDING_PRUNED, pruned_until
from embedrouter.ledger.retention import STEP, Retention, rules
from embedrouter.settings import Settings
from embedrouter.store import Batch
from embedrouter.store.tables import (
    generation_contents,
    generations,
    invites,
    login_failures,
    sessions,
    spending,
    usage,
)
from ledger.sums import DAY, NOON, OTHER_WORKSPACE, SECOND, Books, books, shared_postgres

__all__ = ["books", "shared_postgres"]

_MIDNIGHT = NOON - DAY // 2


def _prune(books: Books, at: int = NOON, *, prompts: int = 0, **days: int) -> None:
    kept: dict[str, Any] = {f"keep_{name}_days": count for name, count in days.items()}
    assert Retention(books.writer, Settings(keep_prompts_days=prompts, **kept)).prune(at, 60)


def _ids(books: Books) -> set[str]:
    return set(books.database.read_now(lambda connection: connection.execute(select(generations.c.id)).scalars().all()))


def test_nothing_goes_that_is_kept_for_ever(books: Books) -> None:
    books.settle(books.generation(NOON - 300 * DAY), prompt="[]")
    _prune(books)
    assert books.count(generations) == books.count(usage) == books.count(generation_contents) == 1
    assert books.findings() == []


def test_generations_go_by_whole_days_and_the_doctor_knows(books: Books) -> None:
    books.used(_MIDNIGHT - 2 * DAY - SECOND, id="old")
    books.used(_MIDNIGHT - 2 * DAY, id="first kept")
    books.used(NOON, id="new")
    _prune(books, generations=2)
    assert _ids(books) == {"first kept", "new"}
    assert books.count(usage) == 3
    assert books.findings() == []


def test_prompts_go_with_or_before_their_generations(books: Books) -> None:
    for days in (0, 5, 15):
        books.settle(books.generation(NOON - days * DAY), prompt="[]")
    _prune(books, prompts=10)
    assert (books.count(generations), books.count(generation_contents)) == (3, 2)
    _prune(books, generations=3)
    assert (books.count(generations), books.count(generation_contents)) == (1, 1), "no prompt outlives its generation"


def test_money_is_proved_after_everything_old_is_gone(books: Books) -> None:
    """Keys in two workspaces, over two years; then usage, generations and spending go, and more is spent."""
    books.new_workspace()
    elsewhere = books.new_key("elsewhere", OTHER_WORKSPACE)
    for days in (0, 1, 8, 40, 300, 500, 700):
        books.used(NOON - days * DAY, prompt_tokens=days + 1)
        books.used(NOON - days * DAY, prompt_tokens=3, key=elsewhere)
    before = books.count(spending)
    _prune(books, generations=5, usage=35)
    assert (books.count(generations), books.count(usage)) == (4, 6)
    assert books.count(spending) < before
    books.used(NOON)
    assert books.findings() == []


@pytest.mark.parametrize(
    ("table", "check"),
    [
        ("usage", "usage entry of the ledger"),
        ("spending", "spending of a key"),
        ("workspace", "spending of all workspaces"),
    ],
)
def test_the_doctor_still_finds_what_is_wrong(books: Books, table: str, check: str) -> None:
    for days in (0, 20, 100):
        books.used(NOON - days * DAY)
    _prune(books, generations=5, usage=35)
    assert books.findings() == []

    def tamper(batch: Batch, _: Sequence[None]) -> Sequence[None]:
        total = (spending.c.period == "total", spending.c.scope == ("key" if table == "spending" else "workspace"))
        if table == "usage":
            change: Any = update(usage).where(usage.c.bucket < (NOON - 10 * DAY) // SECOND)
            change = change.values(cost_pico=usage.c.cost_pico + 1)
        else:
            change = update(spending).where(*total).values(spent_pico=spending.c.spent_pico + 1)
        assert batch.connection.execute(change).rowcount == 1
        return [None]

    books.do(tamper, None)
    assert check in {finding.check for finding in books.findings()}


def test_a_generation_that_was_removed_otherwise_is_missed(books: Books) -> None:
    books.used(id="one")
    books.used(id="two")
    _prune(books, generations=1)

    def lose(batch: Batch, _: Sequence[None]) -> Sequence[None]:
        batch.connection.execute(delete(generations).where(generations.c.id == "one"))
        return [None]

    books.do(lose, None)
    assert {"usage (requests)", "usage entry of the ledger"} <= {finding.check for finding in books.findings()}


def test_spending_that_is_held_stays(books: Books) -> None:
    books.used(NOON - 500 * DAY)

    def hold(batch: Batch, _: Sequence[None]) -> Sequence[None]:
        batch.connection.execute(update(spending).where(spending.c.period == "month").values(held_pico=1))
        return [None]

    books.do(hold, None)
    _prune(books)
    kept = books.database.read_now(
        lambda connection: connection.execute(select(spending.c.scope, spending.c.period)).all()
    )
    assert {period for scope, period in kept} == {"total", "month"}
    assert {scope for scope, period in kept if period == "total"} == {"account", "workspace", "key"}
    assert books.database.read_now(lambda connection: pruned_until(connection, SPENDING_PRUNED)) > 0


def test_what_is_long_expired_goes(books: Books) -> None:
    books.new_user("user_1", "Ada")
    for days in (0, 29, 31):
        at = NOON - days * DAY
        name = f"{days}"
        books.add(sessions, {"token_hash": name, "id": name, "user_id": "user_1", "created_at": 0, "seen_at": 0,
                             "expires_at": at})  # fmt: skip
        books.add(invites, {"token_hash": name, "purpose": "setup", "role": "admin", "created_at": 0, "expires_at": at})
        books.add(login_failures, {"subject_hash": name, "failures": 1, "blocked_until": 0, "updated_at": at})
    _prune(books)
    assert [books.count(table) for table in (sessions, invites, login_failures)] == [2, 2, 2]


def test_it_goes_in_short_transactions(books: Books) -> None:
    books.settle(*(books.generation(NOON - 9 * DAY) for _ in range(2 * STEP + 1)))
    retention = Retention(books.writer, Settings(keep_generations_days=1))
    assert not retention.prune(NOON, 0), "with no time for more, one step and no more"
    assert books.count(generations) == STEP + 1
    assert books.findings() == []
    commits = books.writer.commits
    assert retention.prune(NOON, 60)
    assert books.writer.commits - commits >= 2
    assert books.count(generations) == 0
    assert books.findings() == []


def test_nothing_is_due_right_after_the_start(books: Books) -> None:
    books.used(NOON - 999 * DAY)
    Retention(books.writer, Settings(keep_generations_days=1)).turn()
    assert books.count(generations) == 1


def test_marks_never_go_back(books: Books) -> None:
    books.used(NOON - 100 * DAY)
    books.used(NOON - 50 * DAY)
    _prune(books, generations=60)
    marked = [rule.before for rule in rules(Settings(keep_generations_days=60), NOON) if rule.table == "generations"]
    _prune(books, NOON - 20 * DAY, generations=20)  # a clock that goes back
    assert books.findings() == []
    assert marked[0] % DAY == 0
