"""Where sentences end. Rules, not a model: quick, the same everywhere, and wrong in ways that one can look up."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple


class Span(NamedTuple):
    """A piece of a text: text[start:end], without white space around it."""

    start: int
    end: int


# What ends a sentence where white space follows, with the quotes and brackets that close after it.
# The look behind and the possessive + keep a long row of dots from being read once for each of them.
_STOP: Final = re.compile(r"(?<![.!?…؟۔।॥])[.!?…؟۔।॥]++[\"'”’»)\]}*_]*+(?=\s)")
# Chinese and Japanese need no white space after theirs.
_WIDE_STOP: Final = re.compile(r"[。！？｡]+[」』”’）】》]*")
_ANY_STOP: Final = re.compile(f"{_STOP.pattern}|{_WIDE_STOP.pattern}")
_BLANK_LINE: Final = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
# A line of its own: list items, headings and quotes of Markdown, table rows, fences.
_MARKED: Final = re.compile(r"[ \t]*(?:[-*+•‣·–—]\s|\(?(?:\d{1,3}|[A-Za-z])[.)]\s|#{1,6}\s|>|\||```|~~~|\.\. )")
_NUMBERED: Final = re.compile(r"\(?(?:\d{1,3}|[A-Za-z])[.)]")
_LAST_WORD: Final = re.compile(r"[^\s(\[{\"'“‘«]+$")
_FIRST_WORD: Final = re.compile(r"[\s\"'“‘«(\[{*_¿¡]*(\w[\w'’]*|\S)")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]?")  # "J", "U.S", "e.g"; without the last dot

# After these a name or a number comes, so their dot ends nothing.
_BEFORE_MORE: Final = frozenset(
    """
    dr mr mrs ms mx prof rev hon st mt ft gen col maj capt cmdr lt sgt adm pres gov sen rep fr sr sra srta mme
    mlle fig figs eq eqs sec ch chap no nos nr vol vols pp art tab ref refs ver approx ca cf vs viz resp incl esp
    e.g i.e eg ie bzw z.b d.h u.a s.o s.u vgl zzgl abs str hr fam
    """.split()  # noqa: SIM905
)
_WORDS_TOO: Final = frozenset(("no", "nos", "fig", "art", "str", "abs"))
# After these a sentence may go on or end: it ends where the next word looks like a beginning.
_MAYBE: Final = frozenset(
    """
    inc ltd co corp llc bros jr al ed eds est dept univ assn jan feb mar apr jun jul aug sep sept oct nov dec mon
    tue wed thu fri sat sun usw a.m p.m ph.d u.s u.k u.n e.u b.c a.d
    """.split()  # noqa: SIM905
)
_BEGINNINGS: Final = frozenset(
    """
    a after all although an and another as at because before both but by each for from he her here his how however
    if in it its many most my no not now of on one or our she since so some such that the their then there these
    they this those though thus to under until we what when where which while who why with you your
    """.split()  # noqa: SIM905
)


def sentences(text: str) -> list[Span]:
    """The sentences of a text in order: all of it but white space. Blank lines, list items and headings end one too."""
    found: list[Span] = []
    for start, end in _paragraphs(text):
        for first, last in _blocks(text, start, end):
            found.extend(_within(text, first, last))
    return found


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for gap in _BLANK_LINE.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A paragraph without the line ends that a width made: text wraps where the next word no longer fits."""
    lines: list[tuple[int, int]] = []
    at = start
    while at < end:
        stop = text.find("\n", at, end)
        stop = end if stop < 0 else stop
        lines.append((at, stop))
        at = stop + 1
    longest = max((stop - at for at, stop in lines), default=0)
    begun = start
    for (first, last), (following, after) in pairwise(lines):
        upcoming = text[following:after]
        word = upcoming.split(maxsplit=1)[:1]
        fits = bool(word) and (last - first) + 1 + len(word[0]) <= longest * 0.8
        if _MARKED.match(upcoming) or (fits and not word[0][0].islower()):
            yield begun, last
            begun = following
    yield begun, end


def _within(text: str, start: int, end: int) -> Iterator[Span]:
    begun = start
    for stop in _ANY_STOP.finditer(text, start, end):
        if _ends(text, begun, stop.start(), stop.end(), end):
            yield from _trimmed(text, begun, stop.end())
            begun = stop.end()
    yield from _trimmed(text, begun, end)


def _ends(text: str, begun: int, stop: int, after: int, end: int) -> bool:
    """Whether a sentence that began at `begun` ends with the stop at `stop`, which lasts to `after`."""
    following = _FIRST_WORD.match(text, after, end)
    if following is None or text[stop] in "。！？｡":
        return True
    if following[1][0].islower():
        return False
    if text[stop] != "." or text.startswith("..", stop):
        return True
    return not _NUMBERED.fullmatch(text[begun:after].strip()) and _dot_ends(text, begun, stop, following[1])


def _dot_ends(text: str, begun: int, stop: int, word: str) -> bool:
    """The same of a single dot. word: the next one, which does not begin with a small letter."""
    # Not further back than any abbreviation is long: a line without white space must not be read again and again.
    found = _LAST_WORD.search(text, max(begun, stop - 24), stop)
    before = found[0] if found else ""
    lowered = before.lower()
    if lowered in _BEFORE_MORE:
        # "No. 5", and yet "I said no. Then"
        return lowered in _WORDS_TOO and before.islower() and not word[0].isdigit()
    if lowered == "etc":
        return True
    if lowered in _MAYBE or _INITIALS.fullmatch(before + "."):
        return word.lower() in _BEGINNINGS
    return True


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield Span(start, end)
