"""Activity, credits and the overview: the API's numbers, and nobody else's."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from security.people import Browser
from server import eventually
from web.people import ask, embed, make_key, text_of

_EVIL = "</script><script>alert(1)</script>"


class Busy:
    """A member with two keys that were used."""

    def __init__(self, admin: Browser) -> None:
        self.person = admin.invites()
        self.keys = [make_key(self.person, f"{name} {self.person.email}") for name in ("first", _EVIL)]
        for number, text in ((0, "one"), (0, "one two three"), (1, "a longer text of seven words here")):
            assert embed(admin.server, self.keys[number][0], text, X_Title=_EVIL, HTTP_Referer="https://evil.example")
        eventually(lambda: len(rows(self.person, "range=day&by=key")) == 2)


def rows(person: Browser, query: str) -> list[dict[str, str]]:
    """The CSV."""
    answer = person.get(f"/dashboard/activity.csv?{query}")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.body.decode())))


@pytest.fixture(scope="module")
def busy(admin: Browser) -> Busy:
    return Busy(admin)


def _analytics(dimension: str, **more: Any) -> list[dict[str, Any]]:
    end = datetime.now(UTC) + timedelta(hours=1)
    body = {
        "metrics": ["request_count", "total_usage", "tokens_total", "inputs"],
        "dimensions": [dimension],
        "time_range": {"start": (end - timedelta(days=2)).isoformat(), "end": end.isoformat()},
        **more,
    }
    found: list[dict[str, Any]] = ask("POST", "/analytics/query", body)["data"]["data"]
    return found


@pytest.mark.parametrize("stretch", ["hour", "day", "week", "month", "year"])
def test_a_member_s_numbers_are_those_of_the_api(busy: Busy, stretch: str) -> None:
    hashes = [hash_ for _, hash_ in busy.keys]
    told = {row["api_key_hash"]: row for row in _analytics("api_key_id") if row["api_key_hash"] in hashes}
    assert len(told) == 2
    found = rows(busy.person, f"range={stretch}&by=key")
    assert {row["key_id"] for row in found} == set(hashes)
    for field, metric in (
        ("requests", "request_count"),
        ("tokens", "tokens_total"),
        ("inputs", "inputs"),
        ("usage", "total_usage"),
    ):
        for hash_, row in told.items():  # of the last hour there is a line a minute
            of_key = sum(float(line[field]) for line in found if line["key_id"] == hash_)
            assert of_key == pytest.approx(row[metric], rel=1e-12)


def test_everybody_s_numbers_are_the_administrator_s(admin: Browser, busy: Busy) -> None:
    told = {row["model"]: row for row in _analytics("model")}
    found = rows(admin, "range=week&by=model")
    assert {row["model"] for row in found} == set(told)
    for model, row in told.items():  # of a week there is a line a day
        assert sum(int(line["requests"]) for line in found if line["model"] == model) == row["request_count"]
    mine = sum(int(row["requests"]) for row in rows(busy.person, "range=week&by=model"))
    assert mine == 3 < sum(int(row["requests"]) for row in found) + 1


def test_the_page_shows_what_the_csv_has(admin: Browser, busy: Busy) -> None:
    for query in ("range=day&by=key", "range=hour&by=app", "range=year&by=provider", "range=week&by=model"):
        page = busy.person.get(f"/dashboard/activity?{query}")
        assert page.status == 200
        found = rows(busy.person, query)
        tokens, requests = (sum(int(row[name]) for row in found) for name in ("tokens", "requests"))
        shown = text_of(page)
        assert f"Tokens {tokens}" in shown
        assert f"Requests {requests}" in shown
        assert page.body.count(b'data-island="chart"') == 3
        assert b"<script>alert" not in page.body
    assert admin.get("/dashboard/activity?by=key&range=day").status == 200


def test_filters_by_key_and_model(busy: Busy) -> None:
    key = busy.keys[0][1]
    for by in ("model", "key", "app", "provider"):
        for stretch in ("hour", "day", "month", "year"):
            assert sum(int(row["requests"]) for row in rows(busy.person, f"range={stretch}&by={by}&key={key}")) == 2
            of_model = rows(busy.person, f"range={stretch}&by={by}&model=sentence-transformers/all-minilm-l6-v2")
            assert sum(int(row["requests"]) for row in of_model) == 3
            assert rows(busy.person, f"range={stretch}&by={by}&model=no/such") == []
    assert "No requests in this time" in text_of(busy.person.get("/dashboard/activity?model=no/such"))


def test_days_are_those_of_the_time_zone(busy: Busy) -> None:
    for name, offset in (("Asia/Kolkata", "+05:30"), ("Pacific/Kiritimati", "+14:00"), ("UTC", "Z")):
        found = rows(busy.person, f"range=week&by=key&timezone={name}")
        assert sum(int(row["requests"]) for row in found) == 3
        assert {row["day"][-len(offset) :] for row in found} == {offset}
        page = busy.person.get(f"/dashboard/activity?range=day&timezone={name}")
        assert f"Hour ({name})" in text_of(page)


@pytest.mark.parametrize(
    "query", ["range=eon", "by=mood", "timezone=Mars/Base", "model=%00", f"model={'x' * 300}", "timezone=../../etc"]
)
def test_what_is_not_known_is_refused(busy: Busy, query: str) -> None:
    for path in ("/dashboard/activity", "/dashboard/activity.csv"):
        assert busy.person.get(f"{path}?{query}").status == 400


def test_who_has_used_nothing_is_told_how_to_begin(admin: Browser) -> None:
    person = admin.invites()
    page = text_of(person.get("/dashboard"))
    assert "No requests in the last 30 days yet." in page
    assert "curl " in page
    secret, _ = make_key(person, "First", limit="0.000000016")
    assert embed(admin.server, secret, "now").status == 200

    def told() -> bool:
        found = text_of(person.get("/dashboard"))
        return "Today Spend $0.000000015 Requests 1 Tokens 3 Errors 0" in found

    eventually(told)
    assert "Keys near their limit" in text_of(person.get("/dashboard"))
    assert "First" not in text_of(admin.invites().get("/dashboard"))


def test_credits_are_booked_once_a_form_and_are_the_api_s(admin: Browser) -> None:
    before = ask("GET", "/credits")["data"]["total_credits"]
    page = admin.get("/dashboard/credits").body.decode()
    once = re.search(r'name="once" value="([0-9a-f]{32})"', page)
    assert once is not None
    form = {"kind": "top_up", "amount": "12.5", "reason": f"Invoice 7 {_EVIL}", "once": once[1]}
    for _ in range(2):
        answer = admin.form("/dashboard/credits", **form)
        assert (answer.status, answer.headers["location"]) == (303, "/dashboard/credits?done=added")
    assert ask("GET", "/credits")["data"]["total_credits"] == before + 12.5
    shown = admin.get("/dashboard/credits")
    assert b"<script>alert" not in shown.body
    assert f"Credited ${before + 12.5:,.2f}" in text_of(shown)
    assert admin.form("/dashboard/credits", **{**form, "amount": "13"}).status == 409
    entry = ask("GET", "/credits/ledger?limit=1")["data"][0]
    assert (entry["amount"], entry["actor"], entry["kind"]) == (12.5, f"user:{admin.user['id']}", "top_up")


@pytest.mark.parametrize(
    ("field", "value"),
    [("amount", "-1"), ("amount", "0"), ("amount", "lots"), ("amount", "1,5"), ("amount", "1e99"), ("reason", " "),
     ("kind", "gift"), ("reason", "x" * 501), ("once", "")],
)  # fmt: skip
def test_credits_that_are_wrong_are_not_booked(admin: Browser, field: str, value: str) -> None:
    before = ask("GET", "/credits/ledger?limit=1")["data"]
    form = {"kind": "top_up", "amount": "1", "reason": "why", "once": "ab" * 16, field: value}
    answer = admin.form("/dashboard/credits", **form)
    assert answer.status == 400
    if field != "once":
        assert re.search(rf'name="{field}"[^>]*aria-invalid', answer.body.decode())
    assert ask("GET", "/credits/ledger?limit=1")["data"] == before


def test_a_member_sees_no_balance_and_books_nothing(busy: Busy) -> None:
    page = text_of(busy.person.get("/dashboard/credits"))
    for word in ("Available", "Credited", "Budgets", "Add credit", "top-up"):
        assert word not in page
    used = sum(float(row["usage"]) for row in rows(busy.person, "range=day&by=key"))
    assert f"Spent in all ${used:.9f}" in page
    assert "Invoice 7" not in page
    answer = busy.person.form("/dashboard/credits", amount="5", reason="me", once="cd" * 16)
    assert answer.status == 403
