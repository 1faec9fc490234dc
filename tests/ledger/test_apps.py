"""Apps: known by URL, written once, bounded, and never in a request's way."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from sqlalchemy import select

from embedrouter.ledger import apps as apps_module
from embedrouter.ledger.apps import AppBook, AppClaim, all_apps
from embedrouter.store.tables import apps
from ledger.sums import NOON, Books, books, shared_postgres

__all__ = ["books", "shared_postgres"]

_URL = "https://app.example"


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that awaits."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def _book(books: Books) -> AppBook:
    made = AppBook(books.database, books.writer)
    made.load()
    return made


@in_a_loop
async def test_a_new_app_is_written_once(books: Books) -> None:
    book = _book(books)
    claim = AppClaim(_URL, "An app", ("game",))
    found = await asyncio.gather(*(book.find(claim) for _ in range(20)))
    assert len(set(found)) == 1
    assert books.count(apps) == 1
    commits = books.writer.commits
    assert book.known(claim) == found[0]
    assert await book.find(claim) == found[0]
    assert books.writer.commits == commits, "a known app costs no query"
    assert await _book(books).find(claim) == found[0], "after a restart, too"
    assert books.writer.commits == commits


@in_a_loop
async def test_two_processes_agree_on_its_id(books: Books) -> None:
    one, other = _book(books), _book(books)
    assert await one.find(AppClaim(_URL)) == await other.find(AppClaim(_URL)) > 0


@in_a_loop
async def test_a_new_title_is_taken_over_but_not_at_every_request(books: Books, monkeypatch: Any) -> None:
    book = _book(books)
    await book.find(AppClaim(_URL, "One"))
    for title in ("Two", "Three"):
        await book.find(AppClaim(_URL, title))
    assert _titles(books) == ["One"], "it was written a moment ago"
    monkeypatch.setattr(apps_module, "_PAUSE", 0.0)
    await book.find(AppClaim(_URL, "Four"))
    await asyncio.gather(*book._asked.values())
    assert _titles(books) == ["Four"]
    commits = books.writer.commits
    await book.find(AppClaim(_URL, "Four"))
    await book.find(AppClaim(_URL))
    assert books.writer.commits == commits, "nothing new is said"


@in_a_loop
async def test_categories_gather_up_to_ten(books: Books, monkeypatch: Any) -> None:
    monkeypatch.setattr(apps_module, "_PAUSE", 0.0)
    book = _book(books)
    for number in range(12):
        await book.find(AppClaim(_URL, None, (f"c{number}", f"d{number}")))
        await asyncio.gather(*book._asked.values())
    (app,) = books.database.read_now(all_apps)
    assert app.categories == ("c0", "d0", "c1", "d1", "c2", "d2", "c3", "d3", "c4", "d4")


@in_a_loop
async def test_the_number_of_apps_is_bounded(books: Books, monkeypatch: Any) -> None:
    """Attack 31."""
    books.add(
        apps, *({"url": f"https://{number}.example", "categories": "", "created_at": NOON} for number in range(3))
    )
    monkeypatch.setattr(apps_module, "MOST", 3)
    book = _book(books)
    assert await book.find(AppClaim(_URL)) == 0
    commits = books.writer.commits
    assert await book.find(AppClaim("https://another.example")) == 0
    assert books.writer.commits == commits, "it is not asked again for a while"
    assert await book.find(AppClaim("https://1.example")) > 0


@in_a_loop
async def test_a_database_that_is_away_costs_a_request_its_app_only(books: Books) -> None:
    book = _book(books)
    known = await book.find(AppClaim(_URL))
    books.writer.close()
    assert await book.find(AppClaim("https://new.example")) == 0
    assert await book.find(AppClaim(_URL, "A new title")) == known


def _titles(books: Books) -> list[str | None]:
    query = select(apps.c.title)
    return list(books.database.read_now(lambda connection: connection.execute(query).scalars().all()))
