"""What a page's address says of what to show. Raises InvalidRequestError for what is no choice of it."""

from collections.abc import Mapping
from typing import Final, TypeVar

from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.spans import Length
from embedrouter.web.forms import address
from embedrouter.web.view import Pages, Tab

T = TypeVar("T")

LENGTHS: Final[Mapping[str, Length]] = {"day": "day", "week": "week", "month": "month"}
LONGEST: Final = 200  # characters of a search that count
_TITLES: Final[Mapping[Length, str]] = {"day": "Day", "week": "Week", "month": "Month"}
_MOST_PAGES: Final = 1_000


def chosen(name: str, value: str, choices: Mapping[str, T]) -> T:
    """One of several, by its word."""
    if value not in choices:
        raise InvalidRequestError(f"{name}: choose one of {', '.join(choices)}", metadata={"field": name})
    return choices[value]


def length_tabs(path: str, **query: object) -> tuple[Tab, ...]:
    """Day, week, month; query: the page's other parameters, which stay."""
    return tuple(Tab(key, title, address(path, period=key, **query)) for key, title in _TITLES.items())


def page_number(value: str) -> int:
    """From 1."""
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= _MOST_PAGES):
        raise InvalidRequestError(f"page: a number from 1 to {_MOST_PAGES:,}", metadata={"field": "page"})
    return int(value)


def pages(path: str, number: int, total: int, size: int, **query: object) -> Pages | None:
    """Where page `number` of a list is; None where one page has it all."""
    if total <= size and number == 1:
        return None
    first, last = (number - 1) * size + 1, min(number * size, total)
    return Pages(
        min(first, total),
        last,
        total,
        address(path, **query, page=number - 1 if number > 2 else None) if number > 1 else None,
        address(path, **query, page=number + 1) if last < total else None,
    )
