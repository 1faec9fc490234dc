"""Windows of sentences: passages that fit the model, each with the end of the one before it."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from embedrouter.bulk.sentences import Span, sentences
from embedrouter.errors import InvalidRequestError

TokenCount: TypeAlias = Callable[[Sequence[str]], list[int]]
"""The model's tokens of each text, without those that every sequence has."""

SPECIAL: Final = 2  # [CLS] and [SEP]
_LEAST: Final = 8
_MOST: Final = 8192  # tokens that the model takes as one input


class WindowOptions(msgspec.Struct, frozen=True):
    """How long a window is, and how many sentences two neighbours share."""

    tokens: int = 256  # with the model's two special tokens
    overlap: int = 1  # sentences

    def checked(self) -> "WindowOptions":
        """Itself. Raises InvalidRequestError."""
        if not _LEAST <= self.tokens <= _MOST:
            raise InvalidRequestError(f"a window has {_LEAST} to {_MOST:,} tokens, not {self.tokens:,}")
        if self.overlap < 0:
            raise InvalidRequestError(f"windows overlap by 0 sentences or more, not by {self.overlap}")
        return self


def windows(text: str, count: TokenCount, options: WindowOptions) -> list[Span]:
    """Windows that cover all sentences of a text, none longer than `options.tokens`.

    Each holds as many whole sentences as fit. A sentence that does not fit alone is cut between words.
    """
    budget = options.checked().tokens - SPECIAL
    spans = sentences(text)
    lengths = count([text[span.start : span.end] for span in spans])
    pieces: list[tuple[Span, int]] = []
    for span, length in zip(spans, lengths, strict=True):
        pieces += [(span, length)] if length <= budget else _cut(text, span, count, budget)
    return [Span(pieces[first][0].start, pieces[last][0].end) for first, last in _filled(pieces, budget, options)]


def _filled(pieces: Sequence[tuple[Span, int]], budget: int, options: WindowOptions) -> list[tuple[int, int]]:
    """First and last piece of each window. White space parts pieces, so that their tokens add up."""
    found: list[tuple[int, int]] = []
    first = total = 0
    for index, (_, length) in enumerate(pieces):
        if total + length > budget:
            found.append((first, index - 1))
            # What is shared leaves room for this piece, and never is all of the window before.
            shared = min(options.overlap, index - first - 1)
            while shared and sum(tokens for _, tokens in pieces[index - shared : index]) + length > budget:
                shared -= 1
            first = index - shared
            total = sum(tokens for _, tokens in pieces[first:index])
        total += length
    if pieces:
        found.append((first, len(pieces) - 1))
    return found


def _cut(text: str, span: Span, count: TokenCount, budget: int) -> list[tuple[Span, int]]:
    """A sentence in parts that fit, between words where there are any."""
    words = _words(text, span)
    lengths = count([text[word.start : word.end] for word in words])
    found: list[tuple[Span, int]] = []
    start = total = 0
    for index, (word, length) in enumerate(zip(words, lengths, strict=True)):
        if total and total + length > budget:
            found.append((Span(words[start].start, words[index - 1].end), total))
            start, total = index, 0
        if length > budget:
            found += _halved(text, word, count, budget)
            start, total = index + 1, 0
        else:
            total += length
    if total:
        found.append((Span(words[start].start, words[-1].end), total))
    return found


def _words(text: str, span: Span) -> list[Span]:
    found = []
    at = span.start
    for word in text[span.start : span.end].split():
        start = text.index(word, at, span.end)
        at = start + len(word)
        found.append(Span(start, at))
    return found


def _halved(text: str, span: Span, count: TokenCount, budget: int) -> list[tuple[Span, int]]:
    """A word too long, like Chinese without a full stop or a list without spaces: by halves, until each fits."""
    length = count([text[span.start : span.end]])[0]
    if length <= budget or span.end - span.start < 2:
        return [(span, min(length, budget))]
    middle = (span.start + span.end) // 2
    left, right = Span(span.start, middle), Span(middle, span.end)
    return _halved(text, left, count, budget) + _halved(text, right, count, budget)
