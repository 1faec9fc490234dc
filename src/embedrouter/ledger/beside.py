"""Rows of other rooms that belong to a generation: both are written, or neither."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from embedrouter.store import Batch


class Book(Protocol):
    """Where such rows go. Both methods run in the transaction of the generations; nobody else writes meanwhile."""

    def refuse(self, batch: Batch, rows: Sequence[Any]) -> Sequence[Exception | None]:
        """What speaks against each row; its generation is not written then, and nothing is charged."""

    def write(self, batch: Batch, rows: Sequence[Any]) -> None:
        """Write rows that nothing speaks against."""


class Beside(NamedTuple):
    """A row, and its book."""

    book: Book
    row: Any


def refused(batch: Batch, wanted: Mapping[str, Beside]) -> dict[str, Exception]:
    """What must not be written, of rows by their generations' ids."""
    found: dict[str, Exception] = {}
    for book, some in _by_book(wanted):
        reasons = book.refuse(batch, [wanted[name].row for name in some])
        found |= {name: reason for name, reason in zip(some, reasons, strict=True) if reason is not None}
    return found


def write(batch: Batch, wanted: Mapping[str, Beside]) -> None:
    """Write them all."""
    for book, some in _by_book(wanted):
        book.write(batch, [wanted[name].row for name in some])


def _by_book(wanted: Mapping[str, Beside]) -> list[tuple[Book, list[str]]]:
    books: dict[int, tuple[Book, list[str]]] = {}
    for name, one in wanted.items():
        books.setdefault(id(one.book), (one.book, []))[1].append(name)
    return list(books.values())
