"""The list of keys: searched, sorted, page by page."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from embedrouter.accounts.users import User
from embedrouter.store import Database
from embedrouter.web.dashboard.choices import choice
from embedrouter.web.dashboard.key_rows import SORTS, Sort, Wanted, key_rows
from embedrouter.web.forms import address
from embedrouter.web.view import Pages

_HERE: Final = "/dashboard/keys"
_PAGE: Final = 25
_LONGEST: Final = 200  # characters of a query
_MOST_PAGES: Final = 1_000


class Head(NamedTuple):
    """A column's head. direction: if it is what the list is sorted by."""

    title: str
    href: str
    direction: str | None
    number: bool


_TITLES: Final[tuple[tuple[str, Sort, bool], ...]] = (
    ("Name", "name", False),
    ("Limit", "limit", False),
    ("Spent in all", "used", True),
    ("Last used", "last", False),
    ("Made", "created", False),
    ("Expires", "expires", False),
)


async def listed(database: Database, query: Mapping[str, str], me: User, at: int) -> dict[str, Any]:
    """What keys.html shows. query: the address's. Raises InvalidRequestError."""
    sort = choice(query, "sort", SORTS, "created")
    descending = choice(query, "order", ("desc", "asc"), "asc" if sort in ("name", "expires") else "desc") == "desc"
    text = query.get("q", "").strip()[:_LONGEST]
    number = query.get("page", "1")
    page = min(int(number), _MOST_PAGES) if number.isascii() and number.isdecimal() and len(number) < 9 else 1
    first = max(0, page - 1) * _PAGE
    wanted = Wanted(me.sees_only, text, sort, descending, first, _PAGE)
    found = await database.read(lambda connection: key_rows(connection, wanted, at))

    def at_page(number: int) -> str:
        return address(_HERE, q=text, sort=query.get("sort"), order=query.get("order"), page=number)

    last = first + len(found.rows)
    pages = Pages(
        first + 1,
        last,
        found.total,
        at_page(page - 1) if first else None,
        at_page(page + 1) if last < found.total else None,
    )
    heads = {
        name: Head(
            title,
            address(_HERE, q=text, sort=name, order=_other(descending) if name == sort else None),
            _told(descending) if name == sort else None,
            number,
        )
        for title, name, number in _TITLES
    }
    return {
        "rows": found.rows,
        "pages": pages if found.rows and found.total > _PAGE else None,
        "heads": heads,
        "query": text,
        "total": found.total,
    }


def _other(descending: bool) -> str:
    return "asc" if descending else "desc"


def _told(descending: bool) -> str:
    return "descending" if descending else "ascending"
