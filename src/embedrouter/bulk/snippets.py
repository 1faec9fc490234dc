"""The part of a passage to show: the sentence nearest to what was asked, and what follows it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk.sentences import Span, sentences

_SENTENCES = 16  # of a passage that are compared
_SHORT = 25  # characters; headings and fragments say too little by themselves


def snippets(encoder: Any, query: str, texts: Sequence[str], width: int) -> list[str]:
    """One line of at most `width` characters of each text. encoder: embeds sentences, as tasks.Encoder."""
    spans = [_candidates(text) if len(text) > width else [] for text in texts]
    pieces = [text[span.start : span.end] for text, some in zip(texts, spans, strict=True) for span in some]
    if not pieces:
        return [shortened(text, width) for text in texts]
    vectors: NDArray[np.float32] = encoder.encode([query, *pieces], truncate=True)
    scores = iter((vectors[1:] @ vectors[0]).tolist())
    found = []
    for text, some in zip(texts, spans, strict=True):
        best = max(((next(scores), -span.start) for span in some), default=(0.0, 0))
        found.append(shortened(text, width, -best[1]))
    return found


def shortened(text: str, width: int, start: int = 0) -> str:
    """On one line, from `start` on, with an ellipsis where something is left out; whole words where there are any."""
    line = " ".join(text[start:].split())
    front = "… " if start and text[:start].strip() else ""
    if len(front + line) <= width:
        return front + line
    cut = line[: width - len(front) - 1]
    space = cut.rfind(" ")
    return front + (cut[:space] if space > len(cut) // 2 else cut).rstrip() + "…"


def _candidates(text: str) -> list[Span]:
    spans = sentences(text)
    return ([span for span in spans if span.end - span.start >= _SHORT] or spans)[:_SENTENCES]
