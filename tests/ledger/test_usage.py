"""Sums: of every zone and granularity, by every dimension, with every filter."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedrouter.accounts.first import WORKSPACE
from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.analytics import Order, Query, Row
from embedrouter.ledger.filters import Filter
from embedrouter.ledger.generations import Generation
from embedrouter.ledger.measures import METRICS
from embedrouter.ledger.zones import GRANULARITIES, Granularity, told, zone
from embedrouter.store.tables import apps
from ledger.sums import DAY, NOON, OTHER_WORKSPACE, SECOND, Books, books, opened, shared_postgres, time_of

__all__ = ["books", "shared_postgres"]

_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago"]
# Days around which clocks change in one of them; a leap second's year and a year's end for good measure.
_TIMES = [
    time_of(day)
    for day in ("2026-03-08", "2026-03-29", "2026-04-05", "2026-09-06", "2026-10-25", "2026-11-01", "2026-12-31")
]
_QUARTER = 900 * SECOND


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def four(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Four generations, a to d, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('four') / 'embedrouter.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    with opened(url) as made:
        made.new_user("user_1", "Ada")
        theirs = made.new_key("theirs", owner_id="user_1")
        made.used(id="a")
        made.used(id="b", app_id=7)
        made.used(id="c", app_id=8, key=theirs)
        made.used(id="d", model="model-b")
        yield made


def _cells(rows: Any, metric: str = "request_count") -> dict[Any, Any]:
    return {row.labels[0][0]: row.value(METRICS[metric]) for row in rows}


def _expected_step(generation: Generation, granularity: Granularity, name: str) -> str:
    """When the step that holds it begins: a day by its name, an hour or minute by its moment."""
    local = datetime.fromtimestamp(generation.created_at // SECOND, zone(name))
    day = local.date()
    match granularity:
        case "minute":
            return str(int(local.timestamp()) - local.second)
        case "hour":
            return str(int(local.timestamp()) - local.minute * 60 - local.second)
        case "week":
            day -= timedelta(day.weekday())
        case "month":
            day = day.replace(day=1)
    return str(day)


def _found_step(row: Row, granularity: Granularity, name: str) -> str:
    assert row.step is not None
    text = told(row.step, granularity, zone(name))
    if granularity in ("minute", "hour"):
        return str(int(datetime.fromisoformat(text).timestamp()))
    return text[:10]


def test_any_sum_equals_a_plain_one(books: Books) -> None:
    """Generations, their sums by the quarter of an hour, and analytics in any zone tell the same; the doctor agrees."""
    books.new_workspace()
    payers = [books.key, books.new_key("second"), books.new_key("elsewhere", OTHER_WORKSPACE)]
    written: list[Generation] = []
    one = st.builds(
        lambda base, offset, payer, tokens, status, model, app, latency, hit: books.generation(
            base + offset,
            key=payer,
            prompt_tokens=tokens,
            status=status,
            model=model,
            app_id=app,
            latency_us=latency,
            generation_us=latency // 2,
            cache_source_id="gen-x" if hit else None,
            inputs=tokens % 7,
        ),  # fmt: skip
        st.sampled_from(_TIMES),
        st.integers(-2 * DAY, 2 * DAY),
        st.sampled_from(payers),
        st.integers(0, 2_000_000),
        st.sampled_from([200, 200, 200, 502]),
        st.sampled_from(["model-a", "model-b"]),
        st.integers(0, 2),
        st.integers(0, 10_000_000),
        st.booleans(),
    )

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(
        rows=st.lists(one, max_size=12),
        name=st.sampled_from(_ZONES),
        granularity=st.sampled_from([name for name in GRANULARITIES if name != "minute"]),
        start=st.sampled_from(_TIMES),
        quarters=st.integers(1, 300 * 96),
        by=st.sampled_from(["key_id", "model_permaslug", "workspace_id"]),
        detailed=st.booleans(),
    )
    def holds(
        rows: list[Generation], name: str, granularity: Granularity, start: int, quarters: int, by: str, detailed: bool
    ) -> None:
        books.settle(*rows)
        written.extend(rows)
        first = start - DAY
        end = first + (min(quarters, 31 * 96) if detailed else quarters) * _QUARTER
        expected: dict[tuple[str, Any], list[int]] = defaultdict(lambda: [0] * 9)
        latencies: dict[tuple[str, Any], list[int]] = defaultdict(list)
        for row in written:
            if first <= row.created_at < end:
                key = (_expected_step(row, granularity, name), getattr(row, by))
                latencies[key].append(row.latency_us)
                for index, value in enumerate(
                    (1, row.status != 200, row.cache_source_id is not None, row.inputs, row.prompt_tokens,
                     row.cost_pico, row.latency_us, row.generation_us, row.upstream_pico)
                ):  # fmt: skip
                    expected[key][index] += value
        dimension = {"key_id": "api_key_id", "model_permaslug": "model", "workspace_id": "workspace"}[by]
        found = books.ask(
            *(("latency_p50", "latency_p99") if detailed else ("request_count",)),
            start=first, end=end, granularity=granularity, zone=zone(name), dimensions=[dimension], limit=10_000,
        )  # fmt: skip
        assert not found.truncated
        assert not found.warnings
        told_sums = {(_found_step(row, granularity, name), row.ids[0]): list(row.sums) for row in found.rows}
        assert told_sums == dict(expected)
        if detailed:
            for group in found.rows:
                ordered = sorted(latencies[_found_step(group, granularity, name), group.ids[0]])
                for percent, value in group.percentiles.items():
                    assert value == ordered[-(-len(ordered) * percent // 100) - 1]

    holds()
    assert written
    assert books.findings() == []


def test_minutes_come_from_generations_and_end_exactly(books: Books) -> None:
    for seconds in (0, 59, 60, 119, 120):
        books.used(NOON + seconds * SECOND)
    found = books.ask(start=NOON, end=NOON + 120 * SECOND, granularity="minute")
    assert [(row.step, row.sums.requests) for row in found.rows] == [
        (NOON // SECOND, 2),
        (NOON // SECOND + 60, 2),
    ]


def test_a_range_is_widened_to_quarters_and_says_so(books: Books) -> None:
    books.used(NOON + 60 * SECOND)
    found = books.ask(start=NOON + 120 * SECOND, end=NOON + 180 * SECOND)
    assert [row.sums.requests for row in found.rows] == [1]
    assert "2026-03-04T12:00:00.000+00:00 to 2026-03-04T12:15:00.000+00:00" in found.warnings[0]


def test_dimensions_are_told_by_name(books: Books) -> None:
    books.new_user("user_1", "Ada")
    books.add(apps, {"id": 7, "url": "https://app.example", "title": "An app", "categories": "", "created_at": NOON})
    theirs = books.new_key("theirs", owner_id="user_1")
    books.used(key=theirs, app_id=7)
    books.used()
    assert _cells(books.ask(dimensions=["api_key_id"]).rows) == {"theirs": 1, "main": 1}
    assert _cells(books.ask(dimensions=["workspace"]).rows) == {"Default": 2}
    assert _cells(books.ask(dimensions=["model"]).rows) == {"model-a-2026": 2}
    assert _cells(books.ask(dimensions=["provider"]).rows) == {"builtin": 2}
    users = {row.labels[0] for row in books.ask(dimensions=["user"]).rows}
    assert users == {("Ada", "user_1@example.org", "user_1"), (None, None, None)}
    assert {row.labels[0] for row in books.ask(dimensions=["app"]).rows} == {("An app", 7), (None, None)}


def test_generations_are_listed_newest_first_and_cut(books: Books) -> None:
    made = [books.used(NOON + number * SECOND).id for number in range(4)]
    found = books.ask(dimensions=["generation_id"], start=NOON, limit=3)
    assert [row.ids[0] for row in found.rows] == made[:0:-1]
    assert found.truncated
    oldest = books.ask(dimensions=["generation_id"], start=NOON, order=Order("date", "asc"), limit=1)
    assert oldest.rows[0].ids == (made[0],)


@pytest.mark.parametrize(
    ("field", "operator", "value", "unset", "hit"),
    [
        ("model", "eq", "model-a", False, "abc"),
        ("model", "eq", "model-a-2026", False, "abc"),
        ("model", "neq", "model-a", False, "d"),
        ("model", "gt", "model-a-2026", False, "d"),
        ("model", "in", [], False, ""),
        ("model", "not_in", [], False, "abcd"),
        ("model", "eq", "' OR 1=1 --", False, ""),
        ("app", "eq", 7, False, "b"),
        ("app", "eq", "7", False, "b"),
        ("app", "neq", 7, False, "acd"),
        ("app", "in", [7], False, "b"),
        ("app", "in", [7], True, "abd"),
        ("app", "not_in", [7], False, "c"),
        ("app", "not_in", [7], True, "acd"),
        ("app", "gte", 8, False, "c"),
        ("app", "lt", 8, False, "abd"),
        ("user", "eq", "user_1", False, "c"),
        ("user", "neq", "user_1", False, "abd"),
        ("user", "in", [], True, "abd"),
        ("user", "not_in", ["user_1"], False, ""),
        ("user", "not_in", ["user_2"], False, "c"),
        ("user", "not_in", ["user_1"], True, "abd"),
        ("workspace", "eq", WORKSPACE, False, "abcd"),
        ("provider", "lte", "builtin", False, "abcd"),
    ],
)
def test_filters(four: Books, field: str, operator: str, value: Any, unset: bool, hit: str) -> None:
    wanted = [Filter(field, operator, value, unset)]
    found = four.ask(start=NOON, dimensions=["generation_id"], filters=wanted)
    assert {row.ids[0] for row in found.rows} == set(hit)
    summed = four.ask(start=NOON, filters=wanted)
    assert sum(row.sums.requests for row in summed.rows) == len(hit), "sums by the quarter tell the same"
    assert not found.warnings


def test_a_key_is_found_by_its_number_and_its_hash(books: Books) -> None:
    second = books.new_key("second")
    books.used()
    books.used(key=second)
    for value in (second.id, str(second.id), second.hash, second.hash.upper()):
        found = books.ask(filters=[Filter("api_key_id", "eq", value)], dimensions=["api_key_id"])
        assert [row.labels[0] for row in found.rows] == [("second", second.hash)]
        others = books.ask(filters=[Filter("api_key_id", "not_in", [value])], dimensions=["api_key_id"])
        assert _cells(others.rows) == {"main": 1}


def test_a_key_that_is_not_there_matches_nothing_and_is_told(books: Books) -> None:
    books.used()
    found = books.ask(filters=[Filter("api_key_id", "in", ["f" * 64, 4711])])
    assert found.rows == []
    assert [warning.count("no key") for warning in found.warnings] == [1, 1]


def test_rows_are_ordered_and_cut(books: Books) -> None:
    books.used(prompt_tokens=1, model="b")
    books.used(prompt_tokens=2, model="a")
    books.used(NOON - DAY, prompt_tokens=9, model="c")

    def names(**fields: Any) -> list[Any]:
        return [row.labels[0][0] for row in books.ask("tokens_total", dimensions=["model"], **fields).rows]

    assert names() == ["c-2026", "a-2026", "b-2026"], "the first metric's largest first"
    assert names(order=Order("tokens_total", "asc")) == ["b-2026", "a-2026", "c-2026"]
    assert names(order=Order("model", "asc")) == ["a-2026", "b-2026", "c-2026"]
    assert names(granularity="day") == ["c-2026", "a-2026", "b-2026"]
    assert names(granularity="day", order=Order("date", "desc")) == ["a-2026", "b-2026", "c-2026"]
    assert names(limit=1) == ["c-2026"]
    assert books.ask("tokens_total", dimensions=["model"], limit=2).truncated
    assert not books.ask("tokens_total", dimensions=["model"], limit=3).truncated


def test_rows_of_a_group_are_limited(books: Books) -> None:
    for day in range(3):
        books.used(NOON - day * DAY)
        books.used(NOON - day * DAY, model="model-b")
    found = books.ask(dimensions=["model"], granularity="day", group_limit=2)
    assert [row.ids[0] for row in found.rows] == ["model-a-2026", "model-b-2026"] * 2
    assert found.truncated


def test_rates_are_of_all_requests_and_null_where_there_is_nothing(books: Books) -> None:
    books.used(latency_us=1_000, generation_us=0, cache_source_id="gen-before")
    books.used(latency_us=4_000, generation_us=0)
    books.used(latency_us=4_000, generation_us=0, status=502, prompt_tokens=0)
    (row,) = books.ask("latency").rows
    values = {name: row.value(METRICS[name]) for name in ("cache_hit_rate", "error_rate", "latency", "throughput")}
    assert values == {"cache_hit_rate": 1 / 3, "error_rate": 1 / 3, "latency": 3.0, "throughput": None}
    assert books.ask("latency", end=NOON - DAY).rows == []


@pytest.mark.parametrize(
    ("fields", "told_field"),
    [
        ({"dimensions": ["colour"]}, "dimensions.0"),
        ({"dimensions": ["model", "model"]}, "dimensions.1"),
        ({"dimensions": ["model", "app", "user"]}, "dimensions"),
        ({"granularity": cast("Any", "year")}, "granularity"),
        ({"filters": [Filter("colour", "eq", "red")]}, "filters.0.field"),
        ({"filters": [Filter("model", "eq", "a"), Filter("model", "like", "a")]}, "filters.1.operator"),
        ({"filters": [Filter("model", "eq", ["a"])]}, "filters.0.value"),
        ({"filters": [Filter("model", "in", "a")]}, "filters.0.value"),
        ({"filters": [Filter("model", "eq", 1)]}, "filters.0.value"),
        ({"filters": [Filter("model", "eq", "a\0")]}, "filters.0.value"),
        ({"filters": [Filter("app", "eq", "x")]}, "filters.0.value"),
        ({"filters": [Filter("app", "eq", 1.5)]}, "filters.0.value"),
        ({"filters": [Filter("app", "eq", float("inf"))]}, "filters.0.value"),
        ({"filters": [Filter("app", "eq", 2**70)]}, "filters.0.value"),
        ({"filters": [Filter("api_key_id", "eq", "beef")]}, "filters.0.value"),
        ({"filters": [Filter("model", "eq", "a", include_unset=True)]}, "filters.0.include_unset"),
        ({"filters": [Filter("model", "in", ["a"] * 1001)]}, "filters.0.value"),
        ({"filters": [Filter("model", "eq", "a")] * 21}, "filters"),
        ({"order": Order("tokens_total", "asc")}, "order_by.field"),
        ({"order": Order("date", "asc")}, "order_by.field"),
        ({"order": Order("request_count", cast("Any", "up"))}, "order_by.direction"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"group_limit": 0}, "group_limit"),
        ({"start": NOON, "end": NOON}, "time_range"),
        ({"start": NOON - 4000 * DAY, "end": NOON}, "time_range"),
        ({"start": NOON - 3 * DAY, "end": NOON, "granularity": "minute"}, "time_range"),
        ({"start": NOON - 32 * DAY, "end": NOON, "dimensions": ["generation_id"]}, "time_range"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], told_field: str) -> None:
    whole = {"metrics": ["request_count"], "start": NOON, "end": NOON + DAY, **fields}
    with pytest.raises(InvalidRequestError) as caught:
        Query(**whole).check()
    assert caught.value.metadata == {"field": told_field}
    assert caught.value.message.startswith(f"{told_field}: ")


def test_an_unknown_metric_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidRequestError, match='did you mean "request_count"'):
        Query(["request_counts"], NOON, NOON + DAY).check()
    with pytest.raises(InvalidRequestError, match="metrics: name at least one"):
        Query([], NOON, NOON + DAY).check()
