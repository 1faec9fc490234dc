"""What own credentials pay for: counted by limits that are told to, never by the balance, and proved by the doctor."""

import contextlib
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select, text

from embedrouter.accounts import guardrails, workspaces
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.guardrails import GuardrailChange, NewGuardrail, Rules
from embedrouter.accounts.workspaces import BudgetChange
from embedrouter.errors import EmbedRouterError, PaymentRequiredError, PermissionDeniedError
from embedrouter.ledger import book, generations, holds
from embedrouter.ledger.book import Instance, Ledger
from embedrouter.ledger.claims import Amount, Left
from embedrouter.ledger.credits import ACCOUNT
from embedrouter.ledger.headroom import Expected, Headroom
from embedrouter.ledger.holds import Hold, Room
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.spent import Sum
from embedrouter.ledger.usage import Wanted, activity
from embedrouter.periods import Period, start_of
from embedrouter.store import Batch
from embedrouter.store.tables import spending
from ledger.books import INSTANCE, NOON, Books, settlement, wanted


def _sum(books: Books, scope: str, scope_id: str, period: Period = "total") -> Sum:
    """What the counter says."""
    query = select(spending).where(
        spending.c.scope == scope,
        spending.c.scope_id == scope_id,
        spending.c.period == period,
        spending.c.start == start_of(period, NOON),
    )
    row = books.database.read_now(lambda connection: connection.execute(query).one_or_none())
    return Sum() if row is None else Sum(row.spent_pico, row.held_pico, row.byok_pico, row.byok_held_pico)


def _own(much: int) -> Amount:
    """Asked by a request that own credentials pay for."""
    return Amount(0, much)


def _budget(books: Books, period: Period, limit: int, *, counts: bool | None = None) -> None:
    books.do(workspaces.change_budget, BudgetChange("default", period, limit, counts))


def test_a_key_that_counts_it_spends_to_its_limit_and_not_beyond(books: Books) -> None:
    key = books.key(limit_pico=100, include_byok_in_limit=True)
    payer = books.payer(key)
    books.settle(books.hold(payer, _own(60)), upstream=60)
    books.settle(books.hold(payer, 30))
    books.hold(payer, _own(10))
    with pytest.raises(PaymentRequiredError, match="key's limit is used up") as refused:
        books.hold(payer, _own(1))
    told = refused.value.metadata
    assert (told["limit"], told["include_byok"], told["remaining_usd"]) == ("key_limit", True, 0)
    assert (told["limit_usd"], told["needed_usd"]) == (1e-10, 1e-12)
    assert _sum(books, "key", str(key.id)) == Sum(30, 0, 60, 10)
    assert books.findings() == []


def test_a_key_that_does_not_count_it_is_not_limited_by_it(books: Books) -> None:
    key = books.key(limit_pico=10)
    payer = books.payer(key)
    books.settle(books.hold(payer, 10))
    books.change(key, limit_pico=5)  # below what is spent: what costs nothing fits all the same
    books.settle(books.hold(payer, _own(1_000)), upstream=1_000)
    with pytest.raises(PaymentRequiredError) as refused:
        books.hold(payer, 1)
    assert refused.value.metadata["include_byok"] is False
    assert _sum(books, "key", str(key.id)) == Sum(10, 0, 1_000, 0)
    assert books.findings() == []


def test_each_limit_is_asked_for_what_it_counts(books: Books) -> None:
    """Own credentials first, and shared capacity when they fail: 20 of credits, or 50 by list price."""
    _budget(books, "day", 30, counts=False)
    payer = books.payer(books.key(limit_pico=60, include_byok_in_limit=True), enforce=True, budget=("day",))
    books.credit(25)
    mixed = Amount(20, 30)
    books.settle(books.hold(payer, mixed), 0, upstream=50)
    with pytest.raises(PaymentRequiredError, match="limit"):
        books.hold(payer, mixed)
    books.settle(books.hold(payer, Amount(10)))
    assert _sum(books, "key", str(payer.key_id)) == Sum(10, 0, 50, 0)
    assert _sum(books, "workspace", WORKSPACE, "day") == Sum(10, 0, 50, 0)
    assert _sum(books, "account", ACCOUNT) == Sum(10, 0, 0, 0)
    assert books.findings() == []


def test_the_balance_never_pays_for_it(books: Books) -> None:
    payer = books.payer(books.key(include_byok_in_limit=True), enforce=True)
    hold = books.hold(payer, _own(1_000))
    assert _sum(books, "account", ACCOUNT) == Sum()
    books.settle(hold, upstream=1_000)
    assert books.balance() == (0, 0, 0)
    assert books.findings() == []


def test_the_switch_of_a_key_holds_at_once_also_for_what_is_spent_and_under_way(books: Books) -> None:
    key = books.key(limit_pico=100)
    payer = books.payer(key)  # as a process knows it that has not heard of the change
    books.settle(books.hold(payer, _own(70)), upstream=70)
    under_way = books.hold(payer, _own(25))
    books.change(key, include_byok_in_limit=True)
    books.hold(payer, _own(5))
    for amount in (_own(1), Amount(1)):
        with pytest.raises(PaymentRequiredError):
            books.hold(payer, amount)
    books.change(key, include_byok_in_limit=False)
    books.hold(payer, 100)
    books.settle(under_way, upstream=25)  # was held: it is answered whatever was switched meanwhile
    assert _sum(books, "key", str(key.id)) == Sum(0, 100, 95, 5)
    assert books.findings() == []


@pytest.mark.parametrize("period", ["day", "total"])
def test_a_workspaces_budgets_count_it_where_they_are_told_to(books: Books, period: Period) -> None:
    _budget(books, period, 100, counts=True)
    payer = books.payer(books.key(), budget=(period,))
    books.settle(books.hold(payer, _own(90)), upstream=90)
    with pytest.raises(PermissionDeniedError, match="budget") as refused:
        books.hold(payer, _own(11))
    assert (refused.value.metadata["include_byok"], refused.value.metadata["remaining_usd"]) == (True, 1e-11)
    found = books.database.read_now(lambda connection: workspaces.list_budgets(connection, NOON))
    assert [(one.spent_pico, one.held_pico) for one in found] == [(90, 0)]
    _budget(books, period, 100, counts=False)
    books.hold(payer, _own(11))
    _budget(books, period, 100)  # says nothing of it: it stays
    books.hold(payer, Amount(100))
    assert books.findings() == []


def test_a_guardrails_budget_counts_it_where_it_is_told_to(books: Books) -> None:
    id_ = str(uuid.uuid4())
    wanted = NewGuardrail(id_, WORKSPACE, "a test's", 50, None, Rules(), NOON, include_byok_in_budgets=True)
    assert books.do(guardrails.create, wanted).include_byok_in_budgets
    payer = books.payer(books.key())._replace(guardrails=((id_, "total"),))
    books.settle(books.hold(payer, _own(50)), upstream=50)
    with pytest.raises(PermissionDeniedError, match="Guardrail lifetime budget"):
        books.hold(payer, _own(1))
    assert _sum(books, "guardrail", id_) == Sum(0, 0, 50, 0)
    books.do(guardrails.change, GuardrailChange(id_, NOON, {"include_byok_in_budgets": False}, {}))
    books.hold(payer, _own(1))


def test_what_is_admitted_with_its_settlement_fits_all_the_same(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=10, include_byok_in_limit=True))

    def late(much: int) -> Room:
        asked = wanted(payer, _own(much))
        one = settlement(asked, 0, upstream=much)._replace(hold=None, asked=asked, looks_round=True)
        room: Room = books.do(generations.settle, one)
        return room

    assert late(7).money == {payer.claims(NOON)[0]: Left(3, counts_byok=True)}
    with pytest.raises(PaymentRequiredError):
        late(4)
    late(3)
    assert _sum(books, "key", str(payer.key_id)) == Sum(0, 0, 10, 0)
    assert books.generations() == 2
    assert books.findings() == []


def test_a_release_and_a_void_give_it_back(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=10, include_byok_in_limit=True))
    books.release(books.hold(payer, _own(10)))
    hold = books.hold(payer, Amount(4, 6))
    books.settle(hold, 4, upstream=6)
    books.do(generations.void, settlement(hold, 4, upstream=6))
    assert _sum(books, "key", str(payer.key_id)) == Sum()
    assert _sum(books, "workspace", WORKSPACE) == Sum()
    books.hold(payer, _own(10))
    assert books.findings() == []


def test_what_a_dead_process_held_is_free_again_and_its_late_answer_must_fit(books: Books) -> None:
    key = books.key(limit_pico=10, include_byok_in_limit=True)
    payer = books.payer(key)
    dying, living = (Ledger(books.database, books.writer, Instance(name, "h", 1, 1)) for name in (INSTANCE, "living"))
    dying.beat()
    first, second = (books.hold(payer, _own(much)) for much in (6, 4))
    books.age(INSTANCE, book.DEAD_AFTER + 1_000_000)
    living.beat()
    assert (_sum(books, "key", str(key.id)), books.held_rows()) == (Sum(), 0)
    books.settle(first, upstream=6)
    books.hold(payer, _own(3))
    with pytest.raises(EmbedRouterError, match="reservation expired"):
        books.settle(second, upstream=4)
    assert _sum(books, "key", str(key.id)) == Sum(0, 0, 6, 3)
    assert books.findings() == []


def test_requests_at_once_do_not_pass_it(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=30, include_byok_in_limit=True))

    def ask(number: int) -> bool:
        amount = _own(1) if number % 2 else Amount(1)
        with contextlib.suppress(PaymentRequiredError):
            books.settle(books.hold(payer, amount), upstream=amount.byok_pico)
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(80))) == 30
    found = _sum(books, "key", str(payer.key_id))
    assert (found.spent_pico + found.byok_pico, found.held_pico, found.byok_held_pico) == (30, 0, 0)
    assert books.findings() == []


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_and_switched_nothing_is_granted_beyond_a_limit(books: Books, seed: int) -> None:
    chance = random.Random(seed)
    key = books.key(limit_pico=200)
    _budget(books, "day", 300, counts=True)
    payer = books.payer(key, budget=("day",))
    held: list[Hold] = []
    for _ in range(120):
        step = chance.random()
        if step < 0.1:
            key = books.change(key, include_byok_in_limit=not key.include_byok_in_limit)
        elif step < 0.55 or not held:
            amount = Amount(chance.choice((0, 0, 3)), chance.choice((0, 7)))
            with contextlib.suppress(PaymentRequiredError, PermissionDeniedError):
                held.append(books.hold(payer, amount))
                of_key = _sum(books, "key", str(key.id)).counted(byok=key.include_byok_in_limit)
                if amount.of(counts_byok=key.include_byok_in_limit):
                    assert of_key.spent_pico + of_key.held_pico <= 200
        elif step < 0.7:
            books.release(held.pop())
        else:
            one = held.pop(chance.randrange(len(held)))
            cost = chance.randint(0, one.amount.pico)
            books.settle(one, cost, upstream=chance.randint(0, sum(one.amount) - cost))
        used = _sum(books, "workspace", WORKSPACE, "day").counted(byok=True)
        assert used.spent_pico + used.held_pico <= 300
    assert books.findings() == []
    for one in held:
        books.release(one)
    assert _sum(books, "key", str(key.id)).held_pico == _sum(books, "key", str(key.id)).byok_held_pico == 0


def test_a_process_knows_how_far_it_is_from_limits_that_count_it() -> None:
    payer = Payer(1, "w", "a", key_limit="total")
    one = Expected(payer, payer.claims(NOON), Amount(0, 10), 1)
    for counts, far in ((True, [True, True, False]), (False, [True, True, True])):
        headroom = Headroom()
        headroom.saw(Room({one.claims[0]: Left(40, counts_byok=counts)}, {}))
        found = []
        for _ in range(3):
            headroom.begin(one)
            found.append(headroom.is_far(one, NOON))
            headroom.admit_late(one)
        assert found == far
        assert headroom.beside(one.claims, 1).amounts == (Amount(0, 30),)
        for _ in range(3):
            headroom.end(one, late=True)
        assert headroom.beside(one.claims, 1).amounts == ()


def test_who_holds_leaves_room_for_what_own_credentials_pay_for_elsewhere(books: Books) -> None:
    payer = books.payer(books.key(limit_pico=100, include_byok_in_limit=True))
    with pytest.raises(PaymentRequiredError):
        books.do(holds.hold, wanted(payer, _own(60))._replace(beside=(_own(41),)))
    books.do(holds.hold, wanted(payer, _own(60))._replace(beside=(Amount(20, 20),)))
    assert _sum(books, "key", str(payer.key_id)) == Sum(0, 0, 0, 60)


def test_activity_tells_it_apart_from_what_was_charged(books: Books) -> None:
    payer = books.payer(books.key())
    books.settle(books.hold(payer, Amount(4, 6)), 4, upstream=6)
    books.settle(books.hold(payer, 5))
    day = date(2026, 3, 4)
    (found,) = books.database.read_now(lambda connection: activity(connection, Wanted(day, day)))
    assert (found.requests, found.cost_pico, found.upstream_pico) == (2, 9, 6)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE generations SET upstream_pico = upstream_pico + 1", "usage (upstream_pico)"),
        ("UPDATE usage SET upstream_pico = upstream_pico + 1", "byok of a key"),
        ("UPDATE spending SET byok_pico = byok_pico + 1 WHERE scope = 'key'", "byok of a key"),
        ("UPDATE spending SET byok_pico = byok_pico + 1 WHERE scope = 'workspace'", "byok of a workspace"),
        ("UPDATE spending SET byok_pico = byok_pico + 1 WHERE scope = 'account'", "byok of all accounts"),
        ("UPDATE spending SET byok_held_pico = byok_held_pico + 1 WHERE scope = 'key'", "held money (byok)"),
        ("UPDATE holds SET byok_pico = byok_pico + 1", "held money (byok)"),
    ],
)
def test_the_doctor_names_what_is_wrong_with_it(books: Books, damage: str, told: str) -> None:
    payer = books.payer(books.key(limit_pico=100, include_byok_in_limit=True))
    books.settle(books.hold(payer, _own(10)), upstream=10)
    books.hold(payer, _own(20))
    assert books.findings() == []

    def run(batch: Batch, statements: Any) -> list[None]:
        for statement in statements:
            batch.connection.execute(text(statement))
        return [None] * len(statements)

    books.do(run, damage)
    found = books.findings()
    assert any(finding.check == told for finding in found), found
