"""GET /datasets/rankings-daily and /datasets/app-rankings. Each test has days of 2025 to itself."""

from datetime import date, timedelta
from typing import Any

import pytest

from embedrouter.store.tables import apps
from ledger.sums import DAY, NOON, time_of
from server import KEY, MANAGER
from used import Used, used

__all__ = ["used"]


def _models(used: Used, query: str) -> list[tuple[Any, ...]]:
    answer = used.get(f"/datasets/rankings-daily?{query}", key=KEY)
    assert answer.status == 200, answer.body
    return [tuple(row.values()) for row in answer.json()["data"]]


def _apps(used: Used, query: str) -> list[dict[str, Any]]:
    answer = used.get(f"/datasets/app-rankings?{query}", key=KEY)
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def test_fifty_models_a_day_and_all_others(used: Used) -> None:
    start = time_of("2025-02-10")
    used.books.settle(
        *(used.books.generation(start, model=f"m{number:02}", prompt_tokens=number // 2) for number in range(54)),
        used.books.generation(start + DAY, model="alone", prompt_tokens=2**40),
    )
    rows = _models(used, "start_date=2025-02-10&end_date=2025-02-12")
    first = [row for row in rows if row[0] == "2025-02-10"]
    assert len(first) == 51, "models without tokens are none"
    assert first[:3] == [
        ("2025-02-10", "m52-2026", "26"),
        ("2025-02-10", "m53-2026", "26"),
        ("2025-02-10", "m50-2026", "25"),
    ]
    assert first[-1] == ("2025-02-10", "other", "2"), "m02 and m03, one token each"
    assert rows[51:] == [("2025-02-11", "alone-2026", str(2**40))]


def test_private_usage_is_not_ranked(used: Used) -> None:
    """Attack 31."""
    at = time_of("2025-02-20")
    used.books.used(at, public=False, app_id=1)
    assert _models(used, "start_date=2025-02-20&end_date=2025-02-20") == []
    assert _apps(used, "start_date=2025-02-20&end_date=2025-02-20") == []


def test_weeks_and_months_are_told_by_their_first_day(used: Used) -> None:
    for day in ("2025-03-30", "2025-03-31", "2025-04-01"):
        used.books.used(time_of(day), prompt_tokens=1)
    query = "start_date=2025-03-30&end_date=2025-04-01&period="
    assert [row[::2] for row in _models(used, f"{query}week")] == [("2025-03-24", "1"), ("2025-03-31", "2")]
    assert [row[::2] for row in _models(used, f"{query}month")] == [("2025-03-01", "2"), ("2025-04-01", "1")]


def test_the_window_is_told(used: Used) -> None:
    meta = used.get("/datasets/rankings-daily", key=MANAGER).json()["meta"]
    assert meta["version"] == "v1"
    assert meta["as_of"].endswith("Z")
    first, last = (date.fromisoformat(meta[name]) for name in ("start_date", "end_date"))
    assert last == date.fromisoformat(meta["as_of"][:10]) - timedelta(days=1)
    assert (last - first).days == 29
    early = used.get("/datasets/rankings-daily?start_date=2020-01-01&end_date=2025-01-05", key=KEY).json()["meta"]
    assert early["start_date"] == "2025-01-01"


def test_only_embeddings_are_served_here(used: Used) -> None:
    used.books.used(time_of("2025-04-10"))
    day = "start_date=2025-04-10&end_date=2025-04-10&modality="
    assert len(_models(used, f"{day}embeddings")) == 1
    assert _models(used, f"{day}image") == []


@pytest.mark.parametrize("path", ["rankings-daily", "app-rankings"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("start_date=2025-13-01", "start_date"),
        ("start_date=today", "start_date"),
        ("end_date=2024-12-31", "end_date"),
        ("start_date=2025-05-02&end_date=2025-05-01", "start_date"),
        ("start_date=2025-01-01&end_date=2026-01-02", "366 days"),
        ("period=hour", "period"),
        ("sort=random", "sort"),
        ("category=nothing", "category"),
        ("subcategory=nothing", "subcategory"),
        ("category=coding&subcategory=game", "category"),
        ("limit=101", "limit"),
        ("offset=101", "offset"),
        ("modality=smell", "modality"),
        ("context_bucket=1K", "context_bucket"),
        ("language_type=natural", "language_type"),
    ],
)
def test_what_is_wrong_is_named(used: Used, path: str, query: str, field: str) -> None:
    answer = used.get(f"/datasets/{path}?{query}", key=KEY)
    theirs = {"rankings-daily": ("sort", "subcategory", "limit", "offset"),
              "app-rankings": ("period", "modality", "context_bucket", "language_type")}  # fmt: skip
    if field in theirs[path]:
        assert answer.status == 200, "a parameter of the other"
    else:
        assert field in answer.error(400, "invalid_request")["message"]


def test_366_days_are_allowed(used: Used) -> None:
    assert used.get("/datasets/rankings-daily?start_date=2025-01-01&end_date=2026-01-01", key=KEY).status == 200


@pytest.mark.parametrize("path", ["/datasets/rankings-daily", "/datasets/app-rankings"])
def test_any_key_may_see_them_and_nobody_else(used: Used, path: str) -> None:
    assert used.get(path, key=KEY).status == used.get(path, key=MANAGER).status == 200
    used.get(path, key=None).error(401, "authentication")


@pytest.fixture(scope="module")
def ranked(used: Used) -> Used:
    """Four apps in a window of July 2025 and the three before it."""
    rows = [(901, "Alpha", "cli-agent"), (902, None, "game,legal"), (903, "Gamma", ""), (904, "Delta", "")]
    used.books.add(
        apps,
        *({"id": id_, "url": f"https://{id_}.example/x", "title": title, "categories": categories, "created_at": NOON}
          for id_, title, categories in rows),
    )  # fmt: skip
    at = time_of("2025-07-20")
    for app, now, before in ((901, 100, 0), (902, 500, 600), (903, 300, 900), (904, 300, 1200)):
        used.books.used(at, app_id=app, prompt_tokens=now)
        used.books.used(at - 15 * DAY, app_id=app, prompt_tokens=before)
    used.books.used(at, app_id=901, prompt_tokens=1)
    return used


_WINDOW = "start_date=2025-07-16&end_date=2025-07-20"  # and the three before it: from the first of July


def test_apps_by_tokens(ranked: Used) -> None:
    rows = _apps(ranked, _WINDOW)
    assert [(row["rank"], row["app_id"], row["app_name"], row["total_tokens"]) for row in rows] == [
        (1, 902, "902.example/x", "500"),
        (2, 904, "Delta", "300"),
        (3, 903, "Gamma", "300"),
        (4, 901, "Alpha", "101"),
    ]
    assert rows[-1]["total_requests"] == 2
    page = _apps(ranked, f"{_WINDOW}&limit=1&offset=2")
    assert [(row["rank"], row["app_id"]) for row in page] == [(3, 903)]


def test_apps_that_grow(ranked: Used) -> None:
    """Less the average of the three windows before: 101, 500 - 200, 300 - 300, 300 - 400."""
    rows = _apps(ranked, f"{_WINDOW}&sort=trending")
    assert [(row["rank"], row["app_id"], row["total_tokens"]) for row in rows] == [(1, 902, "500"), (2, 901, "101")]


@pytest.mark.parametrize(
    ("query", "found"),
    [("category=coding", [901]), ("subcategory=legal", [902]), ("category=entertainment&subcategory=game", [902])],
)
def test_apps_of_a_category(ranked: Used, query: str, found: list[int]) -> None:
    assert [row["app_id"] for row in _apps(ranked, f"{_WINDOW}&{query}")] == found
    assert [row["rank"] for row in _apps(ranked, f"{_WINDOW}&{query}")] == [1]
