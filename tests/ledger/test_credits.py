import pytest

from embedrouter.errors import ConflictError, InvalidRequestError, PaymentRequiredError
from embedrouter.ledger import credits as ledger_credits
from embedrouter.ledger.credits import Credit, entries
from embedrouter.money import MOST
from ledger.books import NOON, Books


def test_a_credit_is_an_entry_with_its_actor_and_its_reason(books: Books) -> None:
    booked = books.credit(250)
    assert (booked["kind"], booked["amount_pico"], booked["actor"], booked["reason"]) == (
        "top_up",
        250,
        "a test",
        "because",
    )
    assert [row["id"] for row in books.database.read_now(entries)] == [booked["id"]]
    assert books.balance() == (250, 0, 0)
    assert books.findings() == []


def test_an_idempotency_key_books_once_however_often_it_comes(books: Books) -> None:
    told = [books.credit(100, key="order-1", at=NOON + number) for number in range(3)]
    assert len({entry["id"] for entry in told}) == 1
    assert books.balance().credited_pico == 100
    books.credit(100, key="order-2")
    assert books.balance().credited_pico == 200
    assert books.findings() == []


def test_twenty_at_once_with_one_idempotency_key_are_booked_once(books: Books) -> None:
    credit = Credit("top_up", 100, "a test", "because", NOON, "order-1")
    futures = [books.writer.submit(ledger_credits.add, credit) for _ in range(20)]
    assert len({future.result(60)["id"] for future in futures}) == 1
    assert books.balance().credited_pico == 100
    assert books.findings() == []


@pytest.mark.parametrize("other", [{"amount": 101}, {"amount": 100, "kind": "adjustment"}])
def test_an_idempotency_key_of_another_credit_is_refused(books: Books, other: dict[str, object]) -> None:
    books.credit(100, key="order-1")
    with pytest.raises(ConflictError):
        books.credit(**other, key="order-1")  # type: ignore[arg-type]
    assert books.balance().credited_pico == 100


def test_a_second_try_after_a_lost_commit_books_nothing_more(books: Books) -> None:
    for key in (None, "order-1"):
        credit = Credit("top_up", 100, "a test", f"because {key}", NOON, key)
        told = books.do(ledger_credits.add, credit)
        assert books.do(ledger_credits.add, credit, again=True)["id"] == told["id"]
    assert books.balance().credited_pico == 200
    assert books.findings() == []


def test_an_adjustment_may_take_and_leave_less_than_nothing(books: Books) -> None:
    books.credit(100)
    books.credit(-150, kind="adjustment")
    assert books.balance().available_pico == -50
    with pytest.raises(PaymentRequiredError):
        books.hold(books.payer(books.key(), enforce=True), 1)
    assert books.findings() == []


@pytest.mark.parametrize(("kind", "amount"), [("top_up", 0), ("top_up", -1), ("adjustment", 0)])
def test_no_top_up_takes_and_nothing_is_booked_for_nothing(books: Books, kind: str, amount: int) -> None:
    with pytest.raises(InvalidRequestError):
        books.credit(amount, kind=kind)
    assert books.balance().credited_pico == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_all_credits_together_stay_within_64_bits(books: Books, sign: int) -> None:
    books.credit(sign * MOST, kind="adjustment")
    for amount in (1, MOST):
        with pytest.raises(InvalidRequestError, match="5,000,000 USD"):
            books.credit(sign * amount, kind="adjustment")
    books.credit(-sign * MOST, kind="adjustment")
    assert books.balance().credited_pico == 0
    assert books.findings() == []


def test_one_refused_credit_does_not_take_the_others_down(books: Books) -> None:
    amounts = (10, 0, MOST, 20)
    futures = [books.writer.submit(ledger_credits.add, Credit("top_up", a, "a test", "because", NOON)) for a in amounts]
    assert [future.exception(60) is None for future in futures] == [True, False, False, True]
    assert books.balance().credited_pico == 30
    assert books.findings() == []
