"""Budgets of workspaces and guardrails: which one a refusal names, and that none is ever exceeded."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from embedrouter.accounts import guardrails, workspaces
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.guardrails import Assigning, GuardrailChange, NewGuardrail, Rules
from embedrouter.accounts.workspaces import BudgetChange
from embedrouter.errors import InvalidRequestError, PermissionDeniedError
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import settle
from embedrouter.money import PICO
from embedrouter.periods import Period
from ledger.books import NOON, Books, settlement

_DAY = 86_400_000_000


def _guardrail(books: Books, limit: int | None, reset: Period | None) -> str:
    id_ = str(uuid.uuid4())
    books.do(guardrails.create, NewGuardrail(id_, WORKSPACE, "a test's", limit, reset, Rules(), NOON))
    return id_


def _change(books: Books, id_: str, **columns: Any) -> None:
    books.do(guardrails.change, GuardrailChange(id_, NOON, columns, {}))


@pytest.mark.parametrize("period", ["total", "day", "week", "month"])
def test_a_guardrails_budget_is_shared_by_its_keys_and_never_exceeded(books: Books, period: Period) -> None:
    id_ = _guardrail(books, 10, period)
    one, two = (books.payer(books.key())._replace(guardrails=((id_, period),)) for _ in range(2))
    books.settle(books.hold(one, 6))
    books.hold(two, 4)
    for payer in (one, two):
        with pytest.raises(PermissionDeniedError) as refused:
            books.hold(payer, 1)
        assert refused.value.metadata["limit"] == "guardrail_budget"
    assert books.spent("guardrail", id_, period) == (6, 4)
    assert books.findings() == []


def test_a_guardrails_budget_is_not_exceeded_by_requests_at_once(books: Books) -> None:
    id_ = _guardrail(books, 30, "day")
    payer = books.payer(books.key())._replace(guardrails=((id_, "day"),))

    def ask(_: int) -> bool:
        try:
            books.settle(books.hold(payer, 1))
        except PermissionDeniedError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        granted = sum(threads.map(ask, range(80)))
    assert granted == 30
    assert books.spent("guardrail", id_, "day") == (30, 0)
    assert books.findings() == []


def test_a_guardrails_budget_admits_also_what_is_asked_when_it_is_settled(books: Books) -> None:
    id_ = _guardrail(books, 5, None)
    payer = books.payer(books.key())._replace(guardrails=((id_, "total"),))
    hold = books.hold(payer._replace(guardrails=()), 5)
    books.do(settle, settlement(hold)._replace(payer=payer))
    late = settlement(hold._replace(id="late", payer=payer, claims=payer.claims(NOON)), 1)
    with pytest.raises(PermissionDeniedError, match="Guardrail lifetime budget"):
        books.do(
            settle,
            late._replace(hold=None, asked=hold._replace(id="late", claims=payer.claims(NOON), amount=Amount(1))),
        )
    assert books.spent("guardrail", id_) == (5, 0)


def test_a_guardrails_budget_can_be_raised_removed_and_given_another_period(books: Books) -> None:
    id_ = _guardrail(books, 10, "day")
    daily = books.payer(books.key())._replace(guardrails=((id_, "day"),))
    books.settle(books.hold(daily, 10))
    with pytest.raises(PermissionDeniedError, match="Guardrail daily budget"):
        books.hold(daily, 1)
    _change(books, id_, limit_pico=12)
    books.settle(books.hold(daily, 2))
    books.settle(books.hold(daily, 12, NOON + _DAY))  # another day
    monthly = daily._replace(guardrails=((id_, "month"),))
    _change(books, id_, limit_pico=24, limit_reset="month")
    with pytest.raises(PermissionDeniedError, match="Guardrail monthly budget"):
        books.hold(monthly, 1)  # what was spent before counts
    _change(books, id_, limit_pico=None)
    books.hold(monthly, 1_000)
    books.do(guardrails.remove, id_)
    books.hold(monthly, 1_000)


def test_a_refusal_names_the_longest_budget_that_is_exceeded(books: Books) -> None:
    for period, limit in (("total", 500), ("month", 100), ("week", 50), ("day", 40)):
        books.do(workspaces.change_budget, BudgetChange("default", period, limit * PICO))  # type: ignore[arg-type]
    payer = books.payer(books.key(), budget=("day", "month", "total", "week"))
    for amount, interval, price in ((41, "daily", "40"), (51, "weekly", "50"), (101, "monthly", "100")):
        with pytest.raises(PermissionDeniedError) as refused:
            books.hold(payer, amount * PICO)
        told = refused.value
        assert told.message.startswith(f"Workspace {interval} budget of ${price}.00 exceeded: ")
        assert (told.metadata["limit"], told.metadata["limit_usd"]) == ("budget", float(price))
    with pytest.raises(PermissionDeniedError, match=r"Workspace lifetime budget of \$500\.00 exceeded"):
        books.hold(payer, 501 * PICO)
    assert books.spent("workspace", WORKSPACE, "day") == (0, 0)


def test_budgets_grow_with_their_periods(books: Books) -> None:
    books.do(workspaces.change_budget, BudgetChange("default", "week", 50))
    for period, limit in (("day", 50), ("day", 51), ("month", 50), ("total", 49)):
        with pytest.raises(InvalidRequestError, match="budget"):
            books.do(workspaces.change_budget, BudgetChange("default", period, limit))  # type: ignore[arg-type]
    books.do(workspaces.change_budget, BudgetChange("default", "total", 51))
    books.do(workspaces.change_budget, BudgetChange("default", "day", 49))
    found = books.database.read_now(lambda connection: workspaces.list_budgets(connection, NOON))
    assert [(one.period, one.limit_pico) for one in found] == [("day", 49), ("week", 50), ("total", 51)]


def test_a_repeated_assignment_counts_and_keeps_one_row(books: Books) -> None:
    id_, other = _guardrail(books, None, None), _guardrail(books, None, None)
    key = books.key()
    for guardrail in (id_, other, other):
        assert books.do(guardrails.assign, Assigning(guardrail, (key.hash,), "a test", NOON), again=True) == 1
    found = books.database.read_now(guardrails.guarded_keys)
    assert found == {key.id: other}
    assert books.do(guardrails.unassign, Assigning(id_, (key.hash,), "a test", NOON)) == 0
