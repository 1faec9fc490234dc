"""/credits: money in, with a reason, once; and the ledger that remembers it. On both databases."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from embedrouter.accounts import first
from embedrouter.errors import ConflictError
from embedrouter.ledger.credits import Credit, add, balance
from embedrouter.store import Database, Writer
from embedrouter.store.migrate import migrate
from server import EMBEDDINGS, KEY, MANAGER, MODEL, Answer, Server


def _add(server: Server, amount: Any, reason: Any = "a test", **fields: Any) -> Answer:
    return server.manage("POST", "/credits", {"amount": amount, "reason": reason, **fields})


def _totals(server: Server) -> tuple[float, float]:
    found = server.manage("GET", "/credits").json()["data"]
    assert set(found) == {"total_credits", "total_usage"}
    return found["total_credits"], found["total_usage"]


def test_a_top_up_adds_and_an_adjustment_takes(kept: Server) -> None:
    before, used = _totals(kept)
    answer = _add(kept, 10.25, "invoice 7")
    assert answer.status == 201
    added = answer.json()["data"]
    entry = added["entry"]
    assert (entry["kind"], entry["amount"], entry["reason"]) == ("top_up", 10.25, "invoice 7")
    assert entry["actor"] == f"key:{MANAGER[:12]}...{MANAGER[-3:]}"
    assert added["total_credits"] == before + 10.25
    assert added["available"] == pytest.approx(before + 10.25 - used)
    taken = _add(kept, -0.25, "a refund", kind="adjustment").json()["data"]
    assert taken["entry"]["kind"] == "adjustment"
    assert _totals(kept)[0] == before + 10


def test_usage_is_exact(kept: Server) -> None:
    _, before = _totals(kept)
    for _ in range(3):
        assert kept.request("POST", EMBEDDINGS, {"model": MODEL, "input": "hello"}, key=KEY).status == 200
    assert round((_totals(kept)[1] - before) * 1e12) == 3 * 3 * 5000


def test_the_same_idempotency_key_books_once(kept: Server) -> None:
    before, _ = _totals(kept)
    key = secrets.token_hex(8)
    body = {"amount": 5, "reason": "once"}
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(kept.manage, "POST", "/credits", body, Idempotency_Key=key) for _ in range(16)]
    answers = [future.result() for future in sent]
    assert {answer.status for answer in answers} == {201}
    assert len({str(answer.json()["data"]["entry"]) for answer in answers}) == 1
    assert answers[0].json()["data"]["entry"]["idempotency_key"] == key
    assert _totals(kept)[0] == before + 5
    for other in ({"amount": 6, "reason": "once"}, {"amount": 5, "reason": "twice"}):
        kept.manage("POST", "/credits", other, Idempotency_Key=key).error(409, "conflict")
    assert _totals(kept)[0] == before + 5


def test_without_an_idempotency_key_each_is_booked(kept: Server) -> None:
    before, _ = _totals(kept)
    entries = [_add(kept, 1).json()["data"]["entry"] for _ in range(2)]
    assert entries[0]["id"] != entries[1]["id"]
    assert {entry["idempotency_key"] for entry in entries} == {None}
    assert _totals(kept)[0] == before + 2


@pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
def test_a_wrong_idempotency_key_is_refused(kept: Server, key: str) -> None:
    answer = kept.manage("POST", "/credits", {"amount": 1, "reason": "x"}, Idempotency_Key=key)
    assert answer.error(400, "invalid_request")["metadata"]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 0, "kind": "adjustment"}, "amount"),
        ({"amount": "5"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": 5_000_001}, "amount"),
        ({"amount": -5_000_001, "kind": "adjustment"}, "amount"),
        ({"amount": True}, "amount"),
        ({"kind": "usage"}, "kind"),
        ({"kind": None}, "kind"),
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\0b"}, "reason"),
        ({"reason": None}, "reason"),
    ],
)
def test_a_wrong_field_is_named_and_books_nothing(kept: Server, fields: dict[str, Any], field: str) -> None:
    before = _totals(kept)
    answer = kept.manage("POST", "/credits", {"amount": 1, "reason": "x", **fields})
    assert answer.error(400, "invalid_request")["metadata"]["field"] == field
    assert _totals(kept) == before


@pytest.mark.parametrize("body", ['{"amount": NaN, "reason": "x"}', '{"amount": 1e999, "reason": "x"}', "{}", ""])
def test_what_is_no_amount_is_refused(kept: Server, body: str) -> None:
    kept.request("POST", "/api/v1/credits", body, key=MANAGER).error(400, "invalid_request")


def test_all_credits_together_are_bounded(kept: Server) -> None:
    before, _ = _totals(kept)
    assert _add(kept, 4_000_000).status == 201
    _add(kept, 4_000_000).error(400, "invalid_request")
    assert _add(kept, -4_000_000, kind="adjustment").status == 201
    assert _totals(kept)[0] == before


def test_the_ledger_lists_every_movement_newest_first(kept: Server) -> None:
    secret, made = kept.new_key()
    assert kept.request("POST", EMBEDDINGS, {"model": MODEL, "input": "hello"}, key=secret).status == 200
    entries = [_add(kept, amount, f"number {amount}").json()["data"]["entry"] for amount in (1, 2, 3)]
    page = kept.manage("GET", "/credits/ledger?limit=3").json()
    assert page["data"] == entries[::-1]
    assert page["total_count"] >= 4
    rest = _whole(kept)
    assert len(rest) == len({entry["id"] for entry in rest}) == page["total_count"]
    (usage,) = [entry for entry in rest if entry["key_hash"] == made["hash"]]
    assert (usage["kind"], usage["amount"], usage["actor"]) == ("usage", -1.5e-8, "system")


def _whole(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := server.manage("GET", f"/credits/ledger?limit=100&offset={len(found)}").json()["data"]:
        found += page
    return found


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "limit=x"])
def test_a_wrong_page_is_refused(kept: Server, query: str) -> None:
    kept.manage("GET", f"/credits/ledger?{query}").error(400, "invalid_request")


def test_two_processes_book_the_same_idempotency_key_once(database_url: str, tmp_path_factory: Any) -> None:
    """Each has its own writer; neither must fail, whoever is first."""
    databases = [Database(database_url) for _ in range(2)]
    migrate(databases[0])
    writers = [Writer(database) for database in databases]
    first.prepare(writers[0], first.Wanted(None, None, False, tmp_path_factory.mktemp("data")))
    for number in range(40):
        credit = Credit("top_up", 1_000, "test", "once", number, f"key {number}")
        futures = [writer.submit(add, credit) for writer in writers]
        assert len({future.result()["id"] for future in futures}) == 1
    other = writers[0].submit(add, Credit("top_up", 2_000, "test", "once", 0, "key 0"))
    with pytest.raises(ConflictError):
        other.result()
    assert databases[0].read_now(balance).credited_pico == 40_000
    for writer, database in zip(writers, databases, strict=True):
        writer.close()
        database.close()
