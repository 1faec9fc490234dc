"""Search in the docs: every word must be in a section or its page's title; titles weigh more than text."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from embedrouter.web.docs.library import Library
from embedrouter.web.docs.operations import Operation

MOST: Final = 30  # hits
LONGEST: Final = 200  # characters of a query that count
_BEFORE: Final = 60  # characters of an excerpt before the first word found
_EXCERPT: Final = 220


class Passage(NamedTuple):
    """What can be found: a section of a page, or an operation of the API."""

    href: str
    page: str
    title: str
    text: str
    is_first: bool = False  # of its page, so that the page's own title counts


class Piece(NamedTuple):
    """A stretch of an excerpt."""

    text: str
    is_found: bool


class Hit(NamedTuple):
    """A passage with what to show of it."""

    passage: Passage
    excerpt: tuple[Piece, ...]


def passages(library: Library, operations: Iterable[Operation]) -> list[Passage]:
    """All there are."""
    found = [
        Passage(f"{page.href}#{one.anchor}" if one.anchor else page.href, page.title, one.title, one.text, not number)
        for page in library.pages
        for number, one in enumerate(page.rendered.sections)
    ]
    return found + [
        Passage(one.href, "API reference", f"{one.method} {one.path}", f"{one.summary}. {one.description}".strip())
        for one in operations
    ]


def find(query: str, among: Sequence[Passage]) -> list[Hit]:
    """The best first."""
    words = list(dict.fromkeys(query[:LONGEST].casefold().split()))
    if not words:
        return []
    scored = [(_score(words, passage), number) for number, passage in enumerate(among)]
    best = sorted((-score, number) for score, number in scored if score)
    return [Hit(among[number], excerpt(among[number].text, words)) for _, number in best[:MOST]]


def _score(words: Sequence[str], passage: Passage) -> int:
    """0: not found."""
    page, title, text = passage.page.casefold(), passage.title.casefold(), passage.text.casefold()
    total = 0
    for word in words:
        own = 12 * (word in title) + min(text.count(word), 5)
        if not own and word not in page:
            return 0
        total += own + 1 + 10 * (passage.is_first and word in page)
    return total + 20 * (" ".join(words) == title)


def excerpt(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    """The part of a text around the first word that is in it."""
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)
    first = pattern.search(text)
    start = max(0, (first.start() if first else 0) - _BEFORE)
    start = text.find(" ", start) + 1 if start else 0
    shown = text[start : start + _EXCERPT]
    shown = ("… " if start else "") + shown + (" …" if start + _EXCERPT < len(text) else "")
    pieces: list[Piece] = []
    at = 0
    for found in pattern.finditer(shown):
        pieces += [Piece(shown[at : found.start()], False), Piece(found[0], True)]
        at = found.end()
    return tuple(piece for piece in (*pieces, Piece(shown[at:], False)) if piece.text)
