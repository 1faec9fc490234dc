"""GET /analytics/meta and POST /analytics/query over HTTP; what the sums are is tested in tests/ledger."""

import csv
import io
from typing import Any

import pytest

from embedrouter.csv import csv_text
from ledger.sums import DAY, time_of
from server import KEY
from used import Used, used

__all__ = ["used"]

_START = time_of("2025-06-01")
_RANGE = {"start": "2025-06-01T00:00:00Z", "end": "2025-06-08T00:00:00.000Z"}


@pytest.fixture(scope="module")
def week(used: Used) -> Used:
    """A week in June 2025 that only these tests use."""
    evil = used.books.new_key('=HYPERLINK("http://evil.example")')
    used.books.used(_START, key=evil, prompt_tokens=1000)
    used.books.used(_START + 2 * DAY, prompt_tokens=10)
    return used


def test_meta_lists_what_a_query_takes(used: Used) -> None:
    data = used.get("/analytics/meta").json()["data"]
    assert set(data) == {"metrics", "dimensions", "granularities", "operators"}
    formats = {"number", "currency", "percent", "latency", "throughput"}
    for metric in data["metrics"]:
        assert metric["display_format"] in formats
        assert isinstance(metric["is_rate"], bool)
        assert used.query(metrics=[metric["name"]]).status == 200, metric
    for dimension in data["dimensions"]:
        assert used.query(metrics=["request_count"], dimensions=[dimension["name"]], time_range=_RANGE).status == 200
    for granularity in data["granularities"]:
        assert used.query(metrics=["request_count"], granularity=granularity["name"]).status == 200
    assert {one["name"]: one["value_type"] for one in data["operators"]}["not_in"] == "array"


@pytest.mark.parametrize(
    ("granularity", "zone", "key", "value"),
    [
        ("day", None, "date__day", "2025-06-01T00:00:00.000Z"),
        ("week", None, "date__week", "2025-05-26T00:00:00.000Z"),
        ("month", None, "date__month", "2025-06-01T00:00:00.000Z"),
        ("hour", None, "created_at__hour", "2025-06-01T00:00:00.000Z"),
        ("day", "America/New_York", "date__day", "2025-05-31T00:00:00.000-04:00"),
        ("hour", "Asia/Kathmandu", "created_at__hour", "2025-06-01T05:00:00.000+05:45"),
    ],
)
def test_rows_tell_when(week: Used, granularity: str, zone: str | None, key: str, value: str) -> None:
    rows = week.rows(metrics=["request_count"], granularity=granularity, time_range=_RANGE, timezone=zone)
    assert rows[0] == {key: value, "request_count": rows[0]["request_count"]}


def test_an_answer_has_its_facts(week: Used) -> None:
    answer = week.query(metrics=["total_usage", "tokens_total"], dimensions=["api_key_id"], time_range=_RANGE, limit=1)
    data = answer.json()["data"]
    assert data["metadata"]["row_count"] == 1
    assert data["metadata"]["truncated"] is True
    assert data["metadata"]["query_time_ms"] > 0
    assert "warnings" not in data
    assert data["data"][0]["tokens_total"] == 1000
    assert data["data"][0]["total_usage"] == 5e-6


def test_a_filter_that_resolves_to_nothing_warns(week: Used) -> None:
    filters = [{"field": "api_key_id", "operator": "in", "value": ["f" * 64]}]
    data = week.query(metrics=["request_count"], filters=filters, time_range=_RANGE).json()["data"]
    assert data["data"] == []
    assert "f" * 64 in data["warnings"][0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "metrics"),
        ({"metrics": []}, "metrics"),
        ({"metrics": "request_count"}, "metrics"),
        ({"metrics": ["requests"]}, "metrics.0"),
        ({"dimensions": ["a"]}, "dimensions.0"),
        ({"granularity": "year"}, "granularity"),
        ({"granularity": 5}, "granularity"),
        ({"time_range": {"start": "2025-06-01T00:00:00Z"}}, "end"),
        ({"time_range": {"start": "2025-06-01", "end": "2025-06-02"}}, "start"),
        ({"time_range": {"start": "2025-06-02T00:00:00", "end": "2025-06-03T00:00:00"}}, "start"),
        ({"time_range": {"start": "2025-06-02T00:00:00Z", "end": "2025-06-01T00:00:00Z"}}, "time_range"),
        ({"time_range": {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}}, "time_range"),
        ({"time_range": {"start": "9999-12-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}}, "time_range"),
        ({"filters": [{"field": "model", "operator": "eq"}]}, "value"),
        ({"filters": [{"field": "model", "operator": "eq", "value": None}]}, "value"),
        ({"filters": [{"field": "model", "operator": "~", "value": "a"}]}, "filters.0.operator"),
        ({"order_by": {"field": "request_count", "direction": "up"}}, "order_by.direction"),
        ({"order_by": {"field": "date", "direction": "asc"}}, "order_by.field"),
        ({"limit": 10_001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"group_limit": -1}, "group_limit"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"classifier_filters": {"classifier_id": "x", "filters": []}}, "classifier_filters"),
    ],
)
def test_what_is_wrong_is_named(used: Used, body: dict[str, Any], field: str) -> None:
    whole = body if not body or "metrics" in body else {"metrics": ["request_count"], **body}
    error = used.query(**whole).error(400, "invalid_request")
    assert field in error["message"]


def test_what_is_unknown_is_ignored(week: Used) -> None:
    assert week.rows(metrics=["request_count"], time_range=_RANGE, something_new={"a": 1}) == [{"request_count": 2}]


def test_only_management_keys_query(used: Used) -> None:
    used.query(key=None, metrics=["request_count"]).error(401, "authentication")
    used.query(key=KEY, metrics=["request_count"]).error(403, "permission_denied")


def test_csv_runs_nothing_in_a_spreadsheet(week: Used) -> None:
    """Attack 29."""
    answer = week.query(
        metrics=["request_count", "total_usage", "throughput"], dimensions=["api_key_id"], time_range=_RANGE,
        order_by={"field": "total_usage", "direction": "desc"}, accept="text/csv",
    )  # fmt: skip
    assert answer.headers["content-disposition"] == 'attachment; filename="analytics.csv"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    header, first, *_ = csv.reader(io.StringIO(answer.body.decode()))
    assert header == ["api_key_id", "api_key_hash", "request_count", "total_usage", "throughput"]
    assert first[0] == '\'=HYPERLINK("http://evil.example")'
    assert first[2:] == ["1", "0.000005", "1000000"]


def test_csv_cells() -> None:
    rows: list[list[Any]] = [["=1+1", "+1", "-1", "@A1", "\tx", "\rx", "plain", 'a "b", c', "two\r\nlines", "é"],
            [-1, -0.5, 5e-9, 0.0, 1e20, None, "", " =1", "1-1", "'x"]]  # fmt: skip
    text = csv_text(list("abcdefghij"), rows)
    assert text.endswith("\r\n")
    header, words, numbers = csv.reader(io.StringIO(text, newline=""))
    assert header == list("abcdefghij")
    assert words == ["'=1+1", "'+1", "'-1", "'@A1", "'\tx", "'\rx", "plain", 'a "b", c', "two\r\nlines", "é"]
    assert numbers == ["-1", "-0.5", "0.000000005", "0", "100000000000000000000", "", "", " =1", "1-1", "'x"]
