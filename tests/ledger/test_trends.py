"""What pages tell of models, apps, prices and providers, beside the same counted by hand from the generations."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from embedrouter.ledger import app_usage, prices, provider_usage, trends
from embedrouter.ledger.apps import AppClaim, note
from embedrouter.ledger.generations import Generation
from embedrouter.ledger.observed import MinuteCounts
from embedrouter.ledger.rankings import OTHER
from embedrouter.ledger.trends import Share
from ledger.sums import NOON, SECOND, Books, books, shared_postgres
from ledger.traffic import AT, HOUR, MODELS, Traffic, tell

__all__ = ["books", "shared_postgres"]

_END = NOON // SECOND + HOUR  # of the running clock hour
_TOMORROW = int(datetime(2026, 3, 5, tzinfo=UTC).timestamp())
_DAY = 86_400


def _sums(rows: Iterable[Generation], name: str) -> dict[Any, tuple[int, int]]:
    """Tokens and requests."""
    found: dict[Any, tuple[int, int]] = {}
    for row in rows:
        tokens, requests = found.get(getattr(row, name), (0, 0))
        found[getattr(row, name)] = (tokens + row.prompt_tokens, requests + 1)
    return found


def _day(row: Generation) -> date:
    return datetime.fromtimestamp(row.created_at // SECOND, UTC).date()


def test_weekly_tokens_are_those_of_168_clock_hours(traffic: Traffic) -> None:
    wanted = _sums(traffic.within(_END - 168 * HOUR, _END, public=True), "model_permaslug")
    found = traffic.read(lambda connection: trends.weekly_tokens(connection, AT))
    assert {one.model_permaslug: (one.tokens, one.requests) for one in found} == wanted
    assert {one.model for one in found} == set(MODELS)
    assert [one.tokens for one in found] == sorted((one.tokens for one in found), reverse=True)


def test_a_model_s_days_by_provider_and_together(traffic: Traffic) -> None:
    model = f"{MODELS[0]}-2026"
    rows = traffic.within(_TOMORROW - 30 * _DAY, _TOMORROW, public=True, model_permaslug=model)
    wanted = Counter[tuple[date, str]]()
    for row in rows:
        wanted[_day(row), row.endpoint] += row.prompt_tokens
    found = traffic.read(lambda connection: trends.model_days(connection, model, AT))
    assert {(one.day, one.endpoint): one.tokens for one in found} == dict(wanted)
    totals = trends.day_totals(found, AT)
    assert [one.day for one in totals] == [date(2026, 3, 4) - timedelta(days=back) for back in range(29, -1, -1)]
    assert sum(one.tokens for one in totals) == sum(wanted.values())
    assert sum(one.requests for one in totals) == len(rows)


@pytest.mark.parametrize(("length", "hours"), [("day", 24), ("week", 168), ("month", 720)])
def test_places_of_models_beside_the_time_before(traffic: Traffic, length: Any, hours: int) -> None:
    now = _sums(traffic.within(_END - hours * HOUR, _END, public=True), "model_permaslug")
    before = _sums(traffic.within(_END - 2 * hours * HOUR, _END - hours * HOUR, public=True), "model_permaslug")
    found = traffic.read(lambda connection: trends.standings(connection, length, AT))
    assert {one.name: (one.tokens, one.requests) for one in found} == now
    assert {one.name: one.tokens_before for one in found} == {name: before.get(name, (0, 0))[0] for name in now}
    assert [one.rank for one in found] == [*range(1, len(found) + 1)]
    order = sorted(before, key=lambda name: -before[name][0])
    assert all(one.rank_before == (order.index(one.name) + 1 if one.name in before else None) for one in found)


def test_authors_have_the_tokens_of_their_models(traffic: Traffic) -> None:
    models = traffic.read(lambda connection: trends.standings(connection, "month", AT))
    authors = traffic.read(lambda connection: trends.standings(connection, "month", AT, "author"))
    assert {one.name for one in authors} == {"one", "two"}
    assert {one.name: one.tokens for one in authors}["one"] == sum(
        one.tokens for one in models if one.name.startswith("one/")
    )


def test_who_was_not_used_before_had_no_place() -> None:
    found = trends.ranked({"a": (5, 1), "b": (9, 1), "c": (0, 3)}, {"a": (7, 1), "c": (8, 1)})
    assert [(one.rank, one.name, one.tokens_before, one.rank_before) for one in found] == [
        (1, "b", 0, None), (2, "a", 7, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(("grain", "count", "days"), [("day", 30, 30), ("week", 4, 24)])
def test_shares_of_the_market_come_to_all_tokens(traffic: Traffic, grain: Any, count: int, days: int) -> None:
    """Four weeks from Monday end on a Wednesday: 24 days."""
    rows = traffic.within(_TOMORROW - days * _DAY, _TOMORROW, public=True)
    found = traffic.read(lambda connection: trends.market_share(connection, AT, "model", grain, count, top=2))
    assert sum(one.tokens for one in found) == sum(row.prompt_tokens for row in rows)
    assert {one.name for one in found} == {OTHER, *(name for name, _ in _largest(rows, 2))}
    if grain == "week":
        assert {one.start.weekday() for one in found} == {0}


def _largest(rows: Iterable[Generation], count: int) -> list[tuple[str, int]]:
    sums = _sums(rows, "model_permaslug")
    return sorted(((name, tokens) for name, (tokens, _) in sums.items()), key=lambda one: -one[1])[:count]


def test_others_are_one_share_and_the_last() -> None:
    first = date(2026, 3, 1)
    found = trends.shares([Share(first, "a", 1), Share(first, "b", 5), Share(first, "c", 2), Share(first, "d", 3)], 2)
    assert found == (Share(first, "b", 5), Share(first, "d", 3), Share(first, OTHER, 3))


def test_apps_of_a_model(traffic: Traffic) -> None:
    model = f"{MODELS[1]}-2026"
    rows = traffic.within(_TOMORROW - 30 * _DAY, _TOMORROW, public=True, model_permaslug=model)
    wanted = _sums([row for row in rows if row.app_id], "app_id")
    found = traffic.read(lambda connection: app_usage.model_apps(connection, model, AT))
    assert {one.app.id: (one.tokens, one.requests) for one in found} == wanted
    assert [one.app.url for one in found[:1]] == [
        app.url for app in traffic.apps if app.id == max(wanted, key=lambda of: wanted[of][0])
    ]
    assert len(traffic.read(lambda connection: app_usage.model_apps(connection, model, AT, limit=2))) == 2


@pytest.mark.parametrize(("length", "days"), [("day", 1), ("week", 7), ("month", 30)])
def test_places_of_apps_beside_the_days_before(traffic: Traffic, length: Any, days: int) -> None:
    start = _TOMORROW - days * _DAY
    now = _sums([row for row in traffic.within(start, _TOMORROW, public=True) if row.app_id], "app_id")
    before = _sums([row for row in traffic.within(start - days * _DAY, start, public=True) if row.app_id], "app_id")
    found = traffic.read(lambda connection: app_usage.app_standings(connection, length, AT))
    assert {one.app.id: (one.tokens, one.requests) for one in found} == now
    assert {one.app.id: one.tokens_before for one in found} == {app: before.get(app, (0, 0))[0] for app in now}
    assert [one.tokens for one in found] == sorted((one.tokens for one in found), reverse=True)


def test_an_app_s_days(traffic: Traffic) -> None:
    app = traffic.apps[0]
    wanted = Counter[tuple[date, str]]()
    for row in traffic.within(_TOMORROW - 30 * _DAY, _TOMORROW, public=True, app_id=app.id):
        wanted[_day(row), row.model_permaslug] += row.prompt_tokens
    found = traffic.read(lambda connection: app_usage.app_days(connection, app.id, AT))
    assert {(one.day, one.model_permaslug): one.tokens for one in found} == dict(wanted)
    assert traffic.read(lambda connection: app_usage.find_app(connection, app.url)) == app
    assert traffic.read(lambda connection: app_usage.find_app(connection, "https://nobody.example")) is None


def test_an_app_that_only_private_keys_use_is_not_found(books: Books) -> None:
    app = books.do(note, AppClaim("https://secret.example", "Secret"))
    books.used(app_id=app.id, public=False)
    assert books.database.read_now(lambda connection: app_usage.find_app(connection, app.url)) is None
    assert books.database.read_now(lambda connection: app_usage.app_standings(connection, "day", NOON)) == ()


def test_effective_prices_leave_out_what_others_paid_for(traffic: Traffic) -> None:
    found = traffic.read(lambda connection: prices.paid_prices(connection, AT))
    assert len(found) == 6
    for one in found:
        for paid, hours in ((one.hour, 2), (one.day, 24)):
            rows = traffic.within(
                _END - hours * HOUR, _END, public=True, model_permaslug=one.model_permaslug, endpoint=one.endpoint
            )
            assert paid.tokens == sum(row.prompt_tokens for row in rows if not row.is_byok)
            assert paid.pico_per_token == (5_000 if paid.tokens else None)
    of_one = traffic.read(lambda connection: prices.paid_prices(connection, AT, found[0].model_permaslug))
    assert of_one == found[:2]


def test_a_provider_s_models_with_their_attempts(books: Books) -> None:
    books.used(model="one/a", endpoint="far/fast", provider_name="Far", prompt_tokens=7)
    books.used(model="one/b", endpoint="far/fast", provider_name="Far", prompt_tokens=9)
    books.used(model="one/b", endpoint="near", provider_name="Near")
    tell(books, MinuteCounts("one/a far/fast", NOON // SECOND - 60, 3, 1, 5, 70))
    tell(books, MinuteCounts("one/a far/fast", NOON // SECOND - 2 * _DAY, 0, 9, 0, 0))
    found = books.database.read_now(lambda connection: provider_usage.provider_models(connection, AT, "Far"))
    assert [(one.model, one.tokens, one.requests, one.attempts, one.uptime) for one in found] == [
        ("one/b", 9, 1, 0, None), ("one/a", 7, 1, 4, 75.0),
    ]  # fmt: skip
    assert len(books.database.read_now(lambda connection: provider_usage.provider_models(connection, AT))) == 3


def test_nothing_used_is_nothing_told(books: Books) -> None:
    read = books.database.read_now
    assert read(lambda connection: trends.weekly_tokens(connection, AT)) == ()
    assert read(lambda connection: trends.standings(connection, "day", AT)) == ()
    assert read(lambda connection: trends.market_share(connection, AT)) == ()
    assert read(lambda connection: prices.paid_prices(connection, AT)) == ()
    assert read(lambda connection: provider_usage.provider_models(connection, AT)) == ()
    assert sum(one.requests for one in trends.day_totals((), AT)) == 0
