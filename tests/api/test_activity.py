"""GET /activity: the last 30 completed days, in any zone, as JSON and as CSV."""

import csv
import io
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from ledger.sums import DAY, OTHER_WORKSPACE, SECOND
from server import KEY
from used import Used, used

__all__ = ["used"]

_MIDNIGHT = int(time.time()) // 86_400 * DAY  # of today
_COLUMNS = {
    "date", "model", "model_permaslug", "endpoint_id", "provider_name", "usage", "byok_usage_inference", "requests",
    "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens",
}  # fmt: skip


def _day(at: int) -> str:
    return str(datetime.fromtimestamp(at // SECOND, UTC).date())


def test_completed_days_by_model_and_endpoint_newest_first(used: Used) -> None:
    key = used.books.new_key("of activity")
    for at, tokens in ((-1, 1), (-DAY, 2), (-2 * DAY, 4), (-30 * DAY, 8), (-30 * DAY - 1, 16), (0, 32)):
        used.books.used(_MIDNIGHT + at, key=key, prompt_tokens=tokens)
    used.books.used(_MIDNIGHT - 2 * DAY, key=key, model="model-b", prompt_tokens=64)
    answer = used.get(f"/activity?api_key_hash={key.hash}")
    assert answer.status == 200, answer.body
    rows = answer.json()["data"]
    assert [(row["date"], row["model"], row["prompt_tokens"], row["requests"]) for row in rows] == [
        (_day(_MIDNIGHT - DAY), "model-a", 3, 2),
        (_day(_MIDNIGHT - 2 * DAY), "model-a", 4, 1),
        (_day(_MIDNIGHT - 2 * DAY), "model-b", 64, 1),
        (_day(_MIDNIGHT - 30 * DAY), "model-a", 8, 1),
    ]
    assert all(set(row) == _COLUMNS for row in rows)
    assert rows[0]["usage"] == 1.5e-8
    one = used.get(f"/activity?api_key_hash={key.hash}&date={rows[-1]['date']}").json()["data"]
    assert one == rows[-1:]


def test_days_are_those_of_the_zone(used: Used) -> None:
    key = used.books.new_key("of a zone")
    at = _MIDNIGHT - 5 * DAY - 3600 * SECOND  # 23:00 UTC is the next day in Berlin, summer and winter
    used.books.used(at, key=key)
    there = used.get(f"/activity?api_key_hash={key.hash}&timezone=Europe/Berlin").json()["data"]
    assert [row["date"] for row in there] == [_day(_MIDNIGHT - 5 * DAY)]
    assert [row["date"] for row in used.get(f"/activity?api_key_hash={key.hash}").json()["data"]] == [_day(at)]


def test_by_user_and_by_workspace(used: Used) -> None:
    used.books.new_user("user_activity", "Ada")
    used.books.new_workspace(OTHER_WORKSPACE, "Activity")
    theirs = used.books.new_key("theirs", OTHER_WORKSPACE, owner_id="user_activity")
    used.books.used(_MIDNIGHT - 3 * DAY, key=theirs, prompt_tokens=7)
    for query in ("user_id=user_activity", f"workspace_id={OTHER_WORKSPACE}"):
        (row,) = used.get(f"/activity?{query}").json()["data"]
        assert row["prompt_tokens"] == 7
        assert "workspace_id" not in row
    (row,) = used.get("/activity?user_id=user_activity&group_by=workspace").json()["data"]
    assert row["workspace_id"] == OTHER_WORKSPACE


def test_csv_by_accept_and_by_format(used: Used) -> None:
    key = used.books.new_key("of a file")
    used.books.used(_MIDNIGHT - DAY, key=key, model="=cmd|' /C calc'!A0")
    path = f"/activity?api_key_hash={key.hash}"
    for answer in (used.get(path, Accept="text/csv"), used.get(f"{path}&format=csv", Accept="application/json")):
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith('attachment; filename="activity-')
        header, row = list(csv.reader(io.StringIO(answer.body.decode())))
        assert set(header) == _COLUMNS
        told = dict(zip(header, row, strict=True))
        assert told["model"].startswith("'=cmd|"), "a spreadsheet must not run it"
        assert told["usage"] == "0.00000005"
    assert used.get(f"{path}&format=json", Accept="text/csv").json()["data"]
    assert used.get(path, Accept="application/json, text/csv").json()["data"]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("date=yesterday", 400, "date"),
        ("date=2026-02-30", 400, "date"),
        ("date=2020-01-01", 400, "date"),
        (f"date={date.today() + timedelta(days=2)}", 400, "date"),  # noqa: DTZ011 (any zone's will do)
        ("api_key_hash=beef", 400, "api_key_hash"),
        (f"api_key_hash={'0' * 64}", 404, "api_key_hash"),
        ("user_id=nobody", 404, "user_id"),
        ("user_id=%00", 404, "user_id"),
        ("workspace_id=%27%20OR%201=1", 404, "workspace_id"),
        ("group_by=model", 400, "group_by"),
        ("timezone=Mars/Olympus", 400, "timezone"),
        ("format=xml", 400, "format"),
    ],
)
def test_what_is_wrong_is_named(used: Used, query: str, status: int, field: str) -> None:
    error = used.get(f"/activity?{query}").error(status, "invalid_request" if status == 400 else "not_found")
    assert field in error["message"]


@pytest.mark.parametrize("path", ["/activity", "/analytics/meta"])
def test_only_management_keys_see_it(used: Used, path: str) -> None:
    used.get(path, key=None).error(401, "authentication")
    used.get(path, key=KEY).error(403, "permission_denied")
