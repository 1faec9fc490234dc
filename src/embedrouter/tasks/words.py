"""What sets the texts of a group apart: the words that many of them and few others have."""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedrouter.tasks.stop_words import stop_words

_SAMPLE: Final = 500  # texts of a group that are read
_READ: Final = 20_000  # characters of a text that are read
_WORDS: Final = 10
_COMMON: Final = 2  # texts, or all of a smaller group, that have a word before it speaks for the group
_TITLE: Final = 4  # words
_SHORTENED: Final = 60  # characters
_ENDING: Final = 3  # letters by which two forms of one word differ

_UNSPACED: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"


def distinguishing(texts: Sequence[str], labels: NDArray[np.int64]) -> list[list[str]]:
    """For each group from 0 on, its words, best first. Items of no group (-1) count among the others.

    A word scores p log(p / q): p is the share of the group's texts that have it, q of the others. Of large groups
    texts are read at even steps, so that a million texts take no longer than some ten thousands.
    """
    groups = int(labels.max(initial=-1)) + 1
    counted = [_counts(texts, np.flatnonzero(labels == label)) for label in range(-1, groups)]
    everywhere: Counter[str] = Counter()
    for counts, _ in counted:
        everywhere.update(counts)
    read = sum(size for _, size in counted)
    return [_best(counts, size, everywhere, read) for counts, size in counted[1:]]


def title(words: Sequence[str], central: str, number: int) -> str:
    """A line for people: the best words, else the beginning of the central text, else a number."""
    if words:
        return ", ".join(words[:_TITLE])
    line = " ".join(central[: _READ // 10].split())
    if len(line) > _SHORTENED:
        line = line[: _SHORTENED - 1].rstrip() + "…"
    return line or f"cluster {number}"


def words_of(text: str) -> set[str]:
    """The words of a text, in lower case and without those that say nothing.

    Chinese and the languages of South-East Asia put no spaces between words: there, each two characters are one.
    """
    stops = stop_words()
    lowered = unicodedata.normalize("NFKC", text[:_READ]).lower().replace("’", "'")
    whole, unspaced = _patterns()
    found = {word for word in whole.findall(lowered) if len(word) > 1 and word not in stops}
    for run in unspaced.findall(lowered):
        found.update(run[at : at + 2] for at in range(max(1, len(run) - 1)))
    return found


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Of words written with spaces, and of runs written without.

    Python's \\w knows letters and not the marks that Hindi or Arabic write their vowels with.
    """
    marks = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code)) in {"Mn", "Mc"})
    letter = rf"[^\W\d_{_UNSPACED}\u3040-\u309f]"
    inside = rf"(?:{letter}|[{marks}\d])"
    return re.compile(rf"{letter}{inside}*(?:['-]{letter}{inside}*)*"), re.compile(rf"[{_UNSPACED}]+")


def _counts(texts: Sequence[str], members: NDArray[np.int64]) -> tuple[Counter[str], int]:
    """In how many of the texts read each word is, and how many those are."""
    if len(members) > _SAMPLE:
        members = members[np.linspace(0, len(members) - 1, _SAMPLE).astype(np.int64)]
    counts: Counter[str] = Counter()
    for index in members:
        counts.update(words_of(texts[index]))
    return counts, len(members)


def _best(counts: Counter[str], size: int, everywhere: Counter[str], read: int) -> list[str]:
    """size: texts of this group that were read; read: of all."""
    enough = min(_COMMON, size)
    words = [word for word, count in counts.items() if count >= enough]
    inside = np.array([counts[word] for word in words], np.float64)
    outside = np.array([everywhere[word] for word in words], np.float64) - inside
    share = inside / max(size, 1)
    elsewhere = (outside + 1) / (read - size + 1) if read > size else 1 / (size + 1)
    scores = share * np.log(share / elsewhere)
    ranked = sorted(zip(-scores, words, strict=True))
    return _different(sys.intern(word) for score, word in ranked if score < 0)


def _different(words: Iterable[str]) -> list[str]:
    """The first words that are not other forms of one before."""
    chosen: list[str] = []
    for word in words:
        if len(chosen) == _WORDS:
            break
        if not any(_same(word, other) for other in chosen):
            chosen.append(word)
    return chosen


def _same(one: str, other: str) -> bool:
    """Whether one is the other with an ending: hint and hints, annotate and annotated."""
    short, long = sorted((one, other), key=len)
    return len(short) > 2 and len(long) - len(short) <= _ENDING and long.startswith(short)
