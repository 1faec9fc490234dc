"""Logs: every generation once, the newest first, and only what the reader may see."""

from collections.abc import Callable
from functools import partial

import pytest

from embedrouter.ledger.generations import Generation
from embedrouter.ledger.logs import Cursor, LogFilter, LogRow, Reader, log_detail, log_page, reader
from ledger.sums import DAY, NOON, SECOND, Books, books, shared_postgres
from ledger.traffic import AT, MODELS, Traffic

__all__ = ["books", "shared_postgres"]

_ALL = Reader(None)


def _pages(traffic: Traffic, who: Reader, wanted: LogFilter, limit: int) -> list[LogRow]:
    """All pages one after the other."""
    rows: list[LogRow] = []
    after: Cursor | None = None
    while True:
        page = traffic.read(partial(log_page, reader=who, wanted=wanted, after=after, limit=limit))
        assert len(page.rows) == limit or page.following is None
        rows += page.rows
        if page.following is None:
            return rows
        after = page.following


def _wanted(traffic: Traffic, which: Callable[[Generation], bool]) -> list[str]:
    found = [row for row in traffic.rows if which(row)]
    return [row.id for row in sorted(found, key=lambda row: (row.created_at, row.id), reverse=True)]


def test_pages_give_every_generation_once(traffic: Traffic) -> None:
    rows = _pages(traffic, _ALL, LogFilter(), 70)
    assert [row.id for row in rows] == _wanted(traffic, lambda _: True)
    of = {row.id: row for row in traffic.rows}
    names = {app.id: app.title or app.url for app in traffic.apps}
    for row in rows:
        made = of[row.id]
        assert row.prompt_tokens == made.prompt_tokens
        assert row.cached == (made.cache_source_id is not None)
        assert row.app_name == names.get(made.app_id)
        assert row.key_name == {key.id: key.name for key in traffic.keys}[made.key_id]


def test_rows_of_the_same_moment_are_not_lost_between_pages(books: Books) -> None:
    made = [books.used(NOON).id for _ in range(7)]
    shown: list[str] = []
    after = None
    for _ in range(4):
        page = books.database.read_now(partial(log_page, reader=_ALL, wanted=LogFilter(), after=after, limit=2))
        shown += [row.id for row in page.rows]
        after = page.following
    assert shown == sorted(made, reverse=True)
    assert after is None


@pytest.mark.parametrize(
    ("wanted", "which"),
    [
        (LogFilter(model_permaslug=f"{MODELS[0]}-2026"), lambda row: row.model == MODELS[0]),
        (LogFilter(app_id=0), lambda row: row.app_id == 0),
        (LogFilter(status=504), lambda row: row.status == 504),
        (LogFilter(failed=True), lambda row: row.status != 200),
        (LogFilter(failed=False), lambda row: row.status == 200),
        (LogFilter(failed=True, status=499), lambda row: row.status == 499),
        (LogFilter(cached=True), lambda row: row.cache_source_id is not None),
        (LogFilter(cached=False, status=200), lambda row: row.cache_source_id is None and row.status == 200),
        (LogFilter(since=AT - DAY, until=AT - 60 * SECOND), lambda row: AT - DAY <= row.created_at < AT - 60 * SECOND),
    ],
)
@pytest.mark.parametrize("who", ["everybody's", "the user's", "one key's"])
def test_filters(traffic: Traffic, wanted: LogFilter, which: Callable[[Generation], bool], who: str) -> None:
    keys = {"everybody's": None, "the user's": tuple(key.id for key in traffic.keys[1:]),
            "one key's": (traffic.keys[0].id,)}[who]  # fmt: skip
    rows = _pages(traffic, Reader(keys), wanted, 40)
    assert [row.id for row in rows] == _wanted(traffic, lambda row: which(row) and (keys is None or row.key_id in keys))
    assert rows


def test_one_app(traffic: Traffic) -> None:
    app = traffic.apps[2].id
    rows = _pages(traffic, _ALL, LogFilter(app_id=app), 50)
    assert [row.id for row in rows] == _wanted(traffic, lambda row: row.app_id == app)


def test_a_user_sees_what_his_keys_did_and_nothing_else(traffic: Traffic) -> None:
    who = traffic.read(lambda connection: reader(connection, "user-1"))
    assert who.key_ids == tuple(key.id for key in traffic.keys[1:])
    own, foreign = traffic.keys[1].id, traffic.keys[0].id
    assert {row.key_id for row in _pages(traffic, who, LogFilter(), 100)} == set(who.key_ids)
    assert {row.key_id for row in _pages(traffic, who, LogFilter(key_id=own), 100)} == {own}
    assert _pages(traffic, who, LogFilter(key_id=foreign), 100) == []
    nobody = traffic.read(lambda connection: reader(connection, "user-2"))
    assert _pages(traffic, nobody, LogFilter(), 100) == []
    assert traffic.read(lambda connection: reader(connection, None)) == _ALL


def test_a_user_with_very_many_keys(traffic: Traffic) -> None:
    many = (*range(1_000, 2_000), traffic.keys[0].id)
    rows = _pages(traffic, Reader(many), LogFilter(), 100)
    assert [row.id for row in rows] == _wanted(traffic, lambda row: row.key_id == traffic.keys[0].id)


def test_detail_has_the_attempts(traffic: Traffic) -> None:
    row = next(row for row in traffic.rows if '"status":502' in row.attempts and row.app_id == traffic.apps[1].id)
    found = traffic.read(lambda connection: log_detail(connection, _ALL, row.id))
    assert found is not None
    assert found.generation == row
    assert [attempt.status for attempt in found.attempts] == [502, 200]
    assert (found.app_name, found.app_url) == ("App 1", "https://app1.example")
    others = Reader(tuple(key.id for key in traffic.keys if key.id != row.key_id))
    assert traffic.read(lambda connection: log_detail(connection, others, row.id)) is None
    assert traffic.read(lambda connection: log_detail(connection, _ALL, "gen-none")) is None
