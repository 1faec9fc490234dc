"""A graph over directions (HNSW, by usearch), for nearest neighbours among more vectors than one likes to compare."""

import math
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.copies import Copies
from embedrouter.tasks.rows import Numbers
from embedrouter.tasks.storage import Codes

LINKS: Final = 24  # of a node on the upper levels, and twice as many on the lowest
WIDTH_ADD: Final = 128  # candidates looked at when a node gets its links
_WIDTH_SEARCH: Final = 128  # and for a query, at least


def search_width(rows: int) -> int:
    """Candidates to look at for a query: more of more rows, so that at a million 0.99 of the true ten are found."""
    return max(_WIDTH_SEARCH, math.isqrt(rows) // 4)


class Graph:
    """Rows 0..n-1 by their directions. It holds int8 codes, so it finds candidates, whose scores the caller computes.

    Rows with the same codes share one node: thousands of copies would be linked to each other and to nothing else.
    """

    def __init__(self, dimensions: int, threads: int = 0) -> None:
        """threads: 0: all cores; 1: the same graph every time."""
        self._dimensions = dimensions
        self._threads = threads
        self._index = _empty(dimensions)  # of the first row of each code
        self._copies = Copies()

    def __len__(self) -> int:
        """Rows."""
        return len(self._copies)

    @property
    def nbytes(self) -> int:
        return int(self._index.memory_usage) + self._copies.nbytes

    def append(self, codes: Codes) -> None:
        """Add the next rows."""
        codes = np.ascontiguousarray(codes)
        first = len(self)
        new = self._copies.append(codes)
        self._index.add((first + new).astype(np.uint64), codes[new], threads=self._threads)

    def nearest(self, codes: Codes, count: int) -> list[Numbers]:
        """For each of (n, dimensions) the `count` nearest, nearly always, and all rows with their codes; ascending."""
        if not len(self) or not len(codes):
            return [np.empty(0, np.int64)] * len(codes)
        matches: Any = self._index.search(codes, min(count, len(self._index)), threads=self._threads)
        keys = np.atleast_2d(matches.keys).astype(np.int64)
        counts = np.atleast_1d(matches.counts).tolist() if len(codes) > 1 else [keys.shape[1]]
        return [self._copies.with_copies(row[:found]) for row, found in zip(keys, counts, strict=True)]

    def save(self, path: Path, copies: BinaryIO) -> None:
        """Write it to two files."""
        self._index.save(path)
        self._copies.save(copies)

    def load(self, path: Path, copies: Copies) -> None:
        """Read what `save` wrote. Raises InvalidRequestError."""
        index = _empty(self._dimensions)
        try:
            index.load(path)
        except (RuntimeError, ValueError, OSError) as error:
            raise InvalidRequestError(f"{path} cannot be read: {error}") from error
        if index.ndim != self._dimensions or len(index) != copies.distinct:
            raise InvalidRequestError(f"{path} is the graph of another index")
        self._index, self._copies = index, copies


def _empty(dimensions: int) -> Any:
    from usearch.index import Index

    return Index(
        ndim=dimensions,
        metric="cos",
        dtype="i8",
        connectivity=LINKS,
        expansion_add=WIDTH_ADD,
        expansion_search=_WIDTH_SEARCH,
        enable_key_lookups=False,
    )
