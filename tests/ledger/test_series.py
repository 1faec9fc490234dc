"""The dashboard's charts, beside the same counted by hand from the generations."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from embedrouter.ledger.generations import Generation
from embedrouter.ledger.logs import Reader
from embedrouter.ledger.series import Scope, Series, Totals, series, span_of
from embedrouter.ledger.system import processes, system, table_rows, writer_state
from embedrouter.store.tables import instances
from ledger.sums import NOON, SECOND, Books, books, shared_postgres
from ledger.traffic import AT, HOUR, MODELS, Traffic

__all__ = ["books", "shared_postgres"]

_NOON = NOON // SECOND
_COLUMN = {"model": "model_permaslug", "key": "key_id", "app": "app_id", "provider": "provider_name"}
_STEP = {"hour": 60, "day": HOUR, "week": 86_400, "month": 86_400}


def _totals(rows: Iterable[Generation]) -> Totals:
    found = list(rows)
    return Totals(
        len(found),
        sum(row.status != 200 for row in found),
        sum(row.cache_source_id is not None for row in found),
        sum(row.inputs for row in found),
        sum(row.prompt_tokens for row in found),
        sum(row.cost_pico for row in found),
    )


def _start(stretch: str, row: Generation) -> int:
    second = row.created_at // SECOND
    if stretch == "year":
        return int(
            datetime.fromtimestamp(second, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
        )
    return second - second % _STEP[stretch]


def _ask(traffic: Traffic, stretch: Any, split: Any, keys: tuple[int, ...] | None = None) -> Series:
    return traffic.read(lambda connection: series(connection, Reader(keys), stretch, split, AT))


@pytest.mark.parametrize("split", ["model", "key", "app", "provider"])
@pytest.mark.parametrize("stretch", ["hour", "day", "week", "month", "year"])
def test_points_and_totals(traffic: Traffic, stretch: Any, split: str) -> None:
    found = _ask(traffic, stretch, split)
    rows = traffic.within(*found.span)
    assert found.totals == _totals(rows)
    assert found.before == _totals(traffic.within(*found.span.before))
    groups: dict[tuple[int, Any], list[Generation]] = {}
    for row in rows:
        groups.setdefault((_start(stretch, row), getattr(row, _COLUMN[split])), []).append(row)
    assert {(point.start, point.id): point.totals for point in found.points} == {
        key: _totals(of) for key, of in groups.items()
    }
    assert [point.start for point in found.points] == sorted(point.start for point in found.points)
    assert {name.id for name in found.names} == {key[1] for key in groups}
    assert found.points


@pytest.mark.parametrize("split", ["model", "key", "app", "provider"])
@pytest.mark.parametrize("stretch", ["hour", "day", "week", "month", "year"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles"])
def test_one_model_in_any_zone(traffic: Traffic, stretch: Any, split: Any, zone: str) -> None:
    scope = Scope(f"{MODELS[0]}-2026", ZoneInfo(zone) if zone != "UTC" else UTC)
    found = traffic.read(lambda connection: series(connection, Reader(None), stretch, split, AT, scope))
    rows = traffic.within(*found.span, model_permaslug=scope.model_permaslug)
    assert rows
    assert found.totals == _totals(rows)
    assert found.before == _totals(traffic.within(*found.span.before, model_permaslug=scope.model_permaslug))
    assert sum(point.totals.requests for point in found.points) == len(rows)
    if stretch in ("week", "month"):
        days = {datetime.fromtimestamp(row.created_at // SECOND, scope.zone).date() for row in rows}
        assert {datetime.fromtimestamp(point.start, UTC).date() for point in found.points} == days


def test_a_reader_s_own_keys_only(traffic: Traffic) -> None:
    key = traffic.keys[1]
    for stretch in ("hour", "day", "month"):
        found = _ask(traffic, stretch, "key", (key.id,))
        assert found.totals == _totals(traffic.within(*found.span, key_id=key.id))
        assert [name.label for name in found.names] == ["second"]
    assert _ask(traffic, "year", "key", ()).totals == Totals()


def test_names_are_those_of_people(traffic: Traffic) -> None:
    names = {name.id: name.label for name in _ask(traffic, "year", "app").names}
    assert names == {0: None, **{app.id: app.title or app.url for app in traffic.apps}}
    spent = _ask(traffic, "year", "model")
    cost = {name.id: sum(p.totals.cost_pico for p in spent.points if p.id == name.id) for name in spent.names}
    assert list(cost.values()) == sorted(cost.values(), reverse=True)


def test_spans_end_with_what_runs() -> None:
    assert span_of("hour", AT) == (_NOON + 21 * 60 - HOUR, _NOON + 21 * 60)
    assert span_of("day", AT) == (_NOON + HOUR - 24 * HOUR, _NOON + HOUR)
    assert span_of("week", AT) == (_NOON + 12 * HOUR - 7 * 86_400, _NOON + 12 * HOUR)


def test_nothing_used_is_an_empty_chart(books: Books) -> None:
    found = books.database.read_now(lambda connection: series(connection, Reader(None), "month", "model", AT))
    assert (found.points, found.names, found.totals, found.before) == ((), (), Totals(), Totals())


def test_the_system_as_administrators_see_it(traffic: Traffic) -> None:
    found = traffic.read(lambda connection: system(connection, traffic.books.database, AT))
    assert found.kind in ("sqlite", "postgresql")
    assert found.version
    assert found.size_bytes > 100_000
    assert found.oldest_generation == min(row.created_at for row in traffic.rows)
    assert found.newest_generation == max(row.created_at for row in traffic.rows)
    counted = {one.table: one.rows for one in traffic.read(table_rows)}
    assert {"generations", "usage_days", "marks"} <= counted.keys()
    if found.kind == "sqlite":
        assert counted["generations"] == len(traffic.rows)
    state = writer_state(traffic.books.writer)
    assert (state.waiting, state.failing) == (0, False)
    assert state.commits > 0


def test_processes_that_were_not_seen_lately_are_not_alive(books: Books) -> None:
    row = {"host": "here", "pid": 1, "started_at": NOON}
    books.add(instances, {"id": "old", "seen_at": NOON, **row}, {"id": "new", "seen_at": AT, **row})
    found = books.database.read_now(lambda connection: processes(connection, AT))
    assert [(one.id, one.alive, one.holds) for one in found] == [("new", True, 0), ("old", False, 0)]
