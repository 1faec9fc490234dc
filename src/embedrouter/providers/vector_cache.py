"""The vector cache: vectors of texts that were embedded before, by the digest of fingerprint and text.

It belongs to the event loop. What takes long is done a slice at a time, so that others have their turn in between.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from embedrouter.lru import LruCache
from embedrouter.minilm.facts import DIMENSIONS
from embedrouter.minilm.pipeline import Embedded
from embedrouter.providers.base import EmbedAnswer

ENTRY: Final = 4 * DIMENSIONS + 640  # bytes: the vector; measured, a bit less than the rest for its key and the map
LONGEST: Final = 65_536  # characters; a text above is not looked up
_SLICE: Final = 128  # texts
_SLICE_CHARACTERS: Final = 131_072


class Counts(NamedTuple):
    """What an answer says of a text."""

    tokens: int  # billed
    truncated: bool
    windows: int  # sequences beyond the first


class Known(NamedTuple):
    """What is kept of a text."""

    vector: bytes  # 384 float32, as they were computed
    counts: Counts


class Distinct(NamedTuple):
    """One of the distinct texts of a request."""

    place: int  # in the request, where it comes first
    key: bytes | None  # None: too long to be looked up
    known: Known | None


class Sought(NamedTuple):
    """What the cache knows of a request's texts."""

    texts: list[Distinct]
    rows: list[int]  # of each text of the request: its place in `texts`

    @property
    def missing(self) -> list[int]:
        """Places in the request of the texts to compute."""
        return [text.place for text in self.texts if text.known is None]

    def tokens(self, missing: Sequence[int]) -> int:
        """What the whole request is billed. missing: the tokens of each missing text."""
        computed = iter(missing)
        tokens = [next(computed) if text.known is None else text.known.counts.tokens for text in self.texts]
        return sum(tokens[row] for row in self.rows)


class VectorCache:
    """Bounded in bytes; one a process."""

    def __init__(self, limit: int) -> None:
        """limit: bytes."""
        self.entries: LruCache[bytes, Known] = LruCache(limit)
        self.hits = 0  # texts
        self.misses = 0

    async def seek(self, texts: Sequence[str], fingerprint: str) -> Sought:
        """Look up each distinct text."""
        base = hashlib.sha256(f"{fingerprint}\n".encode())
        found: list[Distinct] = []
        rows: list[int] = []
        row_of: dict[bytes, int] = {}
        async for start, stop in _slices([len(text) for text in texts]):
            for place in range(start, stop):
                text = texts[place]
                if len(text) > LONGEST:
                    rows.append(len(found))
                    found.append(Distinct(place, None, None))
                    continue
                digest = base.copy()
                digest.update(text.encode("utf-8", "surrogatepass"))  # a lone surrogate is refused by the tokenizer
                key = digest.digest()
                row = row_of.get(key)
                if row is None:
                    row = row_of[key] = len(found)
                    found.append(Distinct(place, key, self.entries.get(key)))
                rows.append(row)
        missing = sum(text.known is None for text in found)
        self.hits += len(found) - missing
        self.misses += missing
        return Sought(found, rows)

    async def complete(self, sought: Sought, computed: Embedded | None, fingerprint: str) -> EmbedAnswer:
        """The whole request's answer. computed: that of the missing texts, which are kept; None if none was missing."""
        texts, rows = sought
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        counts: list[Counts] = []
        fresh = iter(()) if computed is None else zip(computed.vectors, computed.plans, strict=True)
        sound = computed is None or bool(np.isfinite(computed.vectors).all())  # else the gateway refuses the answer
        async for start, stop in _slices([0] * len(texts)):
            for row in range(start, stop):
                text, known = texts[row], texts[row].known
                if known is None:
                    vector, plan = next(fresh)
                    known = Known(vector.tobytes(), Counts(plan.tokens, plan.truncated, len(plan.sequences) - 1))
                    if text.key is not None and sound:
                        self.entries.put(text.key, known, ENTRY)
                vectors[row] = np.frombuffer(known.vector, np.float32)
                counts.append(known.counts)
        return EmbedAnswer(
            vectors=vectors if len(texts) == len(rows) else vectors[rows],
            prompt_tokens=sum(counts[row].tokens for row in rows),
            truncated=sum(counts[row].truncated for row in rows),
            windows=sum(counts[row].windows for row in rows),
            fingerprint=fingerprint,
            tokenize_seconds=0.0 if computed is None else computed.tokenize_seconds,
        )


async def _slices(lengths: Sequence[int]) -> AsyncIterator[tuple[int, int]]:
    """Ranges of texts for one turn of the event loop each. lengths: characters."""
    start = 0
    while start < len(lengths):
        stop, characters = start, 0
        while stop < len(lengths) and stop - start < _SLICE and characters < _SLICE_CHARACTERS:
            characters += min(LONGEST, lengths[stop])
            stop += 1
        if start:
            await asyncio.sleep(0)
        yield start, stop
        start = stop
