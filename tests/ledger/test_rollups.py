"""Rollups: wherever their mark is, and whatever came late for it, every page tells what `usage` alone would."""

import random
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, delete, select, update

from embedrouter.ledger import rolling
from embedrouter.ledger.app_usage import app_days, app_standings, find_app, model_apps
from embedrouter.ledger.apps import AppClaim, note
from embedrouter.ledger.generations import Generation, Settlement, void
from embedrouter.ledger.logs import Reader
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.prices import paid_prices
from embedrouter.ledger.provider_usage import provider_models, provider_tokens
from embedrouter.ledger.retention import Retention
from embedrouter.ledger.rolling import Rolling, roll_up
from embedrouter.ledger.rollups import MARK, ROLLUPS, mark
from embedrouter.ledger.series import Scope, series
from embedrouter.ledger.trends import market_share, model_days, standings, weekly_tokens
from embedrouter.ledger.uptime import component_days, model_hours_of
from embedrouter.settings import Settings
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.tables import marks, usage
from ledger.sums import DAY, NOON, SECOND, Books, books, opened, shared_postgres
from ledger.traffic import AT, HOUR, MODELS, Traffic, traffic_row

__all__ = ["books", "shared_postgres"]

_TABLES = tuple(dict.fromkeys(rollup.table for rollup in ROLLUPS))
_MODEL = f"{MODELS[0]}-2026"
_URL = "https://app1.example"
_QUARTER = 900 * SECOND


def _answers(connection: Connection, at: int = AT) -> dict[str, Any]:
    """All that is told from rollups."""
    found: dict[str, Any] = {
        f"series {stretch} {split}": series(connection, Reader(keys), stretch, split, at)
        for stretch in ("week", "month", "year")
        for split in ("model", "key", "app", "provider")
        for keys in (None, (1, 2))
    }
    for length in ("day", "week", "month"):
        found[f"apps {length}"] = app_standings(connection, length, at)
        for by in ("model", "author"):
            found[f"standings {length} {by}"] = standings(connection, length, at, by)
    app = find_app(connection, _URL)
    return found | {
        "apps of a model": model_apps(connection, _MODEL, at),
        "an app": app,
        "an app's days": app and app_days(connection, app.id, at),
        "prices": paid_prices(connection, at),
        "prices of a model": paid_prices(connection, at, _MODEL),
        "providers": provider_models(connection, at),
        "a week of providers": provider_tokens(connection, at),
        "series of a model": [
            series(connection, Reader(None), "month", split, at, Scope(_MODEL))
            for split in ("model", "key", "app", "provider")
        ],
        "a provider": provider_models(connection, at, "Far"),
        "weekly": weekly_tokens(connection, at),
        "days of a model": model_days(connection, _MODEL, at),
        "market by day": market_share(connection, at),
        "market by week": market_share(connection, at, "author", "week", 8),
        "hours": model_hours_of(connection, _MODEL, at),
        "components": component_days(connection, at, 90),
    }


def _forget(batch: Batch, _: Sequence[None]) -> Sequence[None]:
    for table in _TABLES:
        batch.connection.execute(delete(table))
    batch.connection.execute(delete(marks).where(marks.c.name == MARK))
    return [None]


def _kept(books: Books) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the rollups."""

    def read(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
        return {table.name: sorted(map(tuple, connection.execute(select(table)))) for table in _TABLES}

    return books.database.read_now(read)


def _proved(books: Books, at: int = AT) -> dict[str, Any]:
    """All that is told, which is the same without rollups."""
    assert books.findings() == []

    def read(connection: Connection) -> dict[str, Any]:
        return _answers(connection, at)

    found = books.database.read_now(read)
    books.do(_forget, None)
    assert books.database.read_now(read) == found
    return found


def _made(books: Books, chance: random.Random, count: int) -> list[Generation]:
    keys = [books.key, books.new_key("second")]
    apps = [books.do(note, AppClaim(f"https://app{number}.example", None)) for number in range(3)]
    return [traffic_row(books, chance, keys, apps) for _ in range(count)]


def _void(books: Books, rows: Sequence[Generation]) -> None:
    for row in rows:
        books.do(void, Settlement(row, Payer(row.key_id, row.workspace_id, "main")))


@pytest.mark.parametrize("seed", range(2))
def test_every_page_tells_the_same_wherever_the_mark_is(
    books: Books, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(rolling, "STEP", chance.choice([1, 7, 1_000]))
    rows = _made(books, chance, 200)
    for at in sorted(AT - int(chance.random() ** 3 * 60 * DAY) for _ in range(4)):
        some, rows = rows[:40], rows[40:]
        books.settle(*some)
        assert Rolling(books.writer).catch_up(at, 60)
        assert books.database.read_now(mark) == (at - _QUARTER) // _QUARTER * 900
        _void(books, some[:5])
    books.settle(*rows)
    assert _proved(books)["weekly"]


def test_nothing_before_the_first_turn_is_missed(books: Books) -> None:
    books.settle(*_made(books, random.Random(1), 50))
    assert all(rows == [] for rows in _kept(books).values())
    assert _proved(books)["weekly"]


def test_by_hand_with_late_ones(traffic: Traffic) -> None:
    """The other tests of these pages count this traffic by hand."""
    until = traffic.read(mark)
    assert until == AT // SECOND // 900 * 900 - HOUR - 900
    assert any(row.created_at // SECOND >= until for row in traffic.rows)
    assert traffic.books.findings() == []


def test_the_mark_moves_by_steps_that_hold_the_writer_for_moments(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "STEP", 10)
    books.settle(*(books.generation(NOON - number * _QUARTER) for number in range(35)))
    seen = [books.database.read_now(mark)]
    while not books.do(roll_up, NOON + DAY):
        seen.append(books.database.read_now(mark))
    assert len(seen) == 4
    assert seen == sorted(set(seen))
    assert books.database.read_now(mark) == (NOON + DAY - _QUARTER) // SECOND
    assert books.findings() == []


def test_the_mark_stays_behind_the_clock_that_all_share(books: Books) -> None:
    ahead = time.time_ns() // 1000 + 10 * DAY
    assert books.do(roll_up, ahead)
    assert books.database.read_now(mark) <= time.time() - 900


def test_what_is_new_is_not_in_the_rollups(books: Books) -> None:
    now = time.time_ns() // 1000
    assert Rolling(books.writer).catch_up(now, 60)
    books.used(now)
    assert all(rows == [] for rows in _kept(books).values())
    assert _proved(books, now)["weekly"][0].requests == 1


def test_a_request_that_took_longer_than_the_mark_waits(books: Books) -> None:
    now = time.time_ns() // 1000
    books.used(now)  # the connection has looked for the mark; it will not again for a while
    assert Rolling(books.writer).catch_up(now, 60)
    books.used(now - 40 * 60 * SECOND, app_id=1)
    assert all(len(rows) for rows in _kept(books).values())
    assert _proved(books, now)["weekly"][0].requests == 2


def test_a_clock_that_was_set_back_loses_nothing(books: Books) -> None:
    """The mark was moved by a clock that was ahead."""
    now = time.time_ns() // 1000
    books.add(marks, {"name": MARK, "value": (now + 100 * DAY) // _QUARTER * 900})
    url = books.database.url.render_as_string(hide_password=False)
    with opened(url) as again:
        row = again.generation(now, key=books.key, id="gen-again")
        again.settle(row)
    assert _proved(books, now)["weekly"][0].requests == 1


def test_processes_sum_up_together_while_others_settle(books: Books) -> None:
    rows = _made(books, random.Random(5), 300)
    books.settle(*rows[:100])
    url = books.database.url.render_as_string(hide_password=False)

    def roll() -> None:
        database = Database(url)
        writer = Writer(database)
        for days in range(60, -1, -2):
            assert Rolling(writer).catch_up(AT - days * DAY, 60)
        writer.close()
        database.close()

    threads = [threading.Thread(target=roll) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(100, 300, 20):
        books.settle(*rows[start : start + 20])
    for thread in threads:
        thread.join()
    assert books.database.read_now(mark) == (AT - _QUARTER) // _QUARTER * 900
    assert _proved(books)["weekly"]


def test_a_step_that_is_cut_off_or_done_twice_changes_nothing(books: Books) -> None:
    books.settle(*_made(books, random.Random(9), 50))
    assert Rolling(books.writer).catch_up(AT - 20 * DAY, 60)
    before = _kept(books), books.database.read_now(mark)

    def cut_off(batch: Batch, times: Sequence[int]) -> Sequence[bool]:
        roll_up(batch, times)
        raise ValueError("as if it was killed")

    with pytest.raises(ValueError, match="killed"):
        books.do(cut_off, AT)
    assert (_kept(books), books.database.read_now(mark)) == before
    assert books.do(lambda batch, times: [roll_up(batch, [*times, *times])[0] for _ in times], AT)
    assert _proved(books)["weekly"]


def test_the_doctor_sees_a_sum_that_is_wrong(books: Books) -> None:
    books.used(app_id=1)
    assert Rolling(books.writer).catch_up(NOON + DAY, 60)

    def spoil(batch: Batch, wanted: object) -> list[None]:
        for table in _TABLES:
            batch.connection.execute(update(table).values(requests=table.c.requests + 1))
        return [None]

    books.do(spoil, None)
    assert {finding.check for finding in books.findings()} == {
        *(f"usage_days ({of}{split}) (requests)" for of in ("", "all, by ") for split in ("model", "app", "provider")),
        "app_days (requests)", "model_hours (requests)", "model_days (requests)",
    }  # fmt: skip


def test_the_doctor_sees_a_mark_that_is_wrong(books: Books) -> None:
    books.used(app_id=1)
    assert Rolling(books.writer).catch_up(NOON + DAY, 60)

    def back(batch: Batch, wanted: object) -> list[None]:
        batch.connection.execute(update(marks).where(marks.c.name == MARK).values(value=NOON // SECOND))
        return [None]

    books.do(back, None)
    assert {finding.check.split()[0] for finding in books.findings()} == {table.name for table in _TABLES}


def test_what_is_taken_back_leaves_zeros(books: Books) -> None:
    row = books.used(app_id=1)
    assert Rolling(books.writer).catch_up(NOON + DAY, 60)
    _void(books, [row])
    assert all(value[-1] == 0 for rows in _kept(books).values() for value in rows)
    assert books.findings() == []


def test_rollups_go_with_the_usage_they_sum_up(books: Books) -> None:
    books.settle(*_made(books, random.Random(3), 200))
    assert Rolling(books.writer).catch_up(AT, 60)
    assert Retention(books.writer, Settings(keep_usage_days=20)).prune(AT, 60)
    first = (AT // DAY - 20) * DAY // SECOND

    def starts(connection: Connection) -> list[int]:
        return [start for table in _TABLES for start in connection.execute(select(table.c.bucket)).scalars()]

    assert min(books.database.read_now(starts)) >= first
    assert _proved(books)["weekly"]


def test_an_upgrade_counts_who_went_away_before(books: Books) -> None:
    for number in range(4):
        books.used(NOON, status=499, cancelled=number > 0, app_id=number % 2)

    def again(batch: Batch, _: object) -> list[None]:
        batch.connection.execute(update(usage).values(cancelled=0))
        with Operations.context(MigrationContext.configure(batch.connection)):
            import_module("embedrouter.store.migrations.versions.0002_router")._count_cancelled()
        return [None]

    books.do(again, None)
    assert books.findings() == []
