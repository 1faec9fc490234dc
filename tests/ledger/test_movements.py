"""The ledger page by page: everything to who may see all, the usage of his keys to a member."""

from functools import partial

from embedrouter.ledger.credits import Credit, add
from embedrouter.ledger.logs import Cursor, Reader
from embedrouter.ledger.movements import Movement, movements, used_pico
from ledger.sums import DAY, NOON, Books, books, shared_postgres

__all__ = ["books", "shared_postgres"]


def _pages(books: Books, who: Reader, limit: int) -> list[Movement]:
    rows: list[Movement] = []
    after: Cursor | None = None
    while True:
        page = books.database.read_now(partial(movements, reader=who, after=after, limit=limit))
        assert len(page.rows) == limit or page.following is None
        rows += page.rows
        if page.following is None:
            return rows
        after = page.following


def test_every_entry_once_and_the_newest_first(books: Books) -> None:
    other = books.new_key("other")
    for day in range(3):
        books.used(NOON + day * DAY)
        books.used(NOON + day * DAY, key=other, prompt_tokens=7)
    for number in range(4):
        books.do(add, Credit("top_up", 10 + number, "somebody", "why", NOON + DAY, f"once {number}"))
    rows = _pages(books, Reader(None), 3)
    assert rows == _pages(books, Reader(None), 100)
    assert len({row.id for row in rows}) == len(rows) == 10
    assert [row.created_at for row in rows] == sorted((row.created_at for row in rows), reverse=True)
    assert sum(row.amount_pico for row in rows if row.kind == "usage") == -3 * (10 + 7) * 5_000
    assert {row.key_name for row in rows} == {"main", "other", None}

    own = Reader((other.id,))
    assert {(row.kind, row.key_hash) for row in _pages(books, own, 2)} == {("usage", other.hash)}
    assert books.database.read_now(partial(used_pico, reader=own)) == 3 * 7 * 5_000
    assert books.database.read_now(partial(used_pico, reader=Reader(None))) == 3 * 17 * 5_000


def test_who_has_no_keys_sees_nothing(books: Books) -> None:
    books.used(NOON)
    assert _pages(books, Reader(()), 10) == []
    assert books.database.read_now(partial(used_pico, reader=Reader(()))) == 0
