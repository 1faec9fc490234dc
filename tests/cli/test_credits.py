import getpass

import pytest

from cli.commands import Commands


def balance(commands: Commands) -> float:
    found: float = commands.json("credits", "show")["available"]
    return found


def test_top_ups_and_adjustments_move_the_balance_and_are_in_the_ledger(here: Commands) -> None:
    booked = here.json("credits", "add", "20.000000000001", "--reason", "invoice 7")
    assert booked["entry"]["amount"] == "20.000000000001"
    assert booked["balance"]["credited"] == pytest.approx(20)
    assert here("credits", "adjust", "--reason", "refund", "--", "-5").status == 0
    assert here("credits", "adjust", "-0.5", "--reason", "refund").status == 0
    assert here("credits", "adjust", "--by", "-4.5", "--reason", "refund").status == 0
    assert here("credits", "adjust", "1", "--reason", "found").status == 0
    assert balance(here) == pytest.approx(11)
    entries = here.json("credits", "ledger")
    assert [entry["amount"] for entry in entries] == ["1", "-4.5", "-0.5", "-5", "20.000000000001"]
    assert {entry["actor"] for entry in entries} == {f"cli:{getpass.getuser()}"}
    assert entries[-1]["reason"] == "invoice 7"
    assert len(here.json("credits", "ledger", "--limit", "2")) == 2
    assert here.json("doctor")["clean"] is True


def test_an_idempotency_key_books_once(here: Commands) -> None:
    add = ("credits", "add", "5", "--reason", "invoice 7", "--idempotency-key", "invoice-7")
    assert here.json(*add)["entry"]["id"] == here.json(*add)["entry"]["id"]
    assert balance(here) == 5
    other = here("credits", "add", "6", "--reason", "invoice 7", "--idempotency-key", "invoice-7")
    assert "used for a different credit" in other.refusal()
    assert balance(here) == 5


def test_budgets_are_set_listed_and_taken_away(here: Commands) -> None:
    assert here.json("credits", "budget") == []
    here.json("credits", "budget", "--period", "month", "--limit", "100")
    found = here.json("credits", "budget", "--period", "day", "--limit", "7.5", "--workspace", "default")
    assert [(one["workspace"], one["period"], one["limit"]) for one in found] == [
        ("default", "day", 7.5), ("default", "month", 100),
    ]  # fmt: skip
    assert [one["period"] for one in here.json("credits", "budget", "--period", "day", "--limit", "none")] == ["month"]


def test_what_is_typed_wrong_is_named_and_books_nothing(here: Commands) -> None:
    for arguments, named in (
        (["add", "0", "--reason", "x"], "more than 0"),
        (["add", "much", "--reason", "x"], "the amount"),
        (["add", "6000000", "--reason", "x"], "the amount"),
        (["add", "1", "--reason", " "], "--reason"),
        (["add", "1", "--reason", "x" * 501], "--reason"),
        (["add", "1", "--reason", "x", "--idempotency-key", "k" * 256], "--idempotency-key"),
        (["adjust", "--reason", "x"], "give one amount"),
        (["adjust", "1", "--by", "2", "--reason", "x"], "give one amount"),
        (["budget", "--period", "day"], "--limit"),
        (["budget", "--period", "day", "--limit", "-1"], "negative"),
        (["budget", "--period", "day", "--limit", "1", "--workspace", "nope"], '"nope"'),
    ):
        assert named in here("credits", *arguments).refusal()
    assert here.json("doctor")["ledger_entries"] == 0


def test_without_a_database_none_is_made(commands: Commands) -> None:
    for arguments in (["show"], ["add", "1", "--reason", "x"], ["ledger"], ["budget"]):
        assert "makes one" in commands("credits", *arguments).refusal()
