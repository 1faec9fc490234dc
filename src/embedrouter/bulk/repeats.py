"""Identical texts, computed once: found by a first reading, and kept on disk for the rows that repeat them."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk import storage
from embedrouter.bulk.targets import naming
from embedrouter.bulk.windows import Window

_NONE = -1


class Groups(NamedTuple):
    """Rows in the order they are read; 5 bytes for each."""

    of: NDArray[np.int32]  # the group of rows with the same text, by its first row; -1 for a text that no other has
    first: NDArray[np.bool_]  # whether no row before it has its text


class Marked(NamedTuple):
    """A window, and which of its rows are to be computed."""

    window: Window
    groups: NDArray[np.int32]
    compute: NDArray[np.bool_]

    def texts(self) -> list[str]:
        """Those to compute."""
        return [self.window.batch.values[i] for i in np.flatnonzero(self.compute)]

    def numbers(self) -> list[int]:
        """Their lines or rows."""
        return [self.window.batch.numbers[int(i)] for i in np.flatnonzero(self.compute)]


def grouped_texts(read: Iterable[Window]) -> Groups:
    """Reads all texts; keeps 16 bytes of each: two texts are the same if their BLAKE2b digests of 128 bits are."""
    digests = [_digests(window.batch.values) for window in read]
    words = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
    del digests
    rows = len(words)
    order = np.lexsort((words[:, 1], words[:, 0]))  # stable: of the same texts, the first comes first
    sorted_words = words[order]
    again = np.zeros(rows, np.bool_)  # as the one before it in this order
    again[1:] = (sorted_words[1:] == sorted_words[:-1]).all(axis=1)
    first = np.ones(rows, np.bool_)
    first[order[again]] = False
    heads = np.flatnonzero(~again & np.append(again[1:], [False])) if rows else np.zeros(0, np.int64)
    of = np.full(rows, _NONE, np.int32)
    # Groups are numbered by their first rows, so that their vectors are written one after the other.
    ranks = np.empty(len(heads), np.int32)
    ranks[np.argsort(order[heads])] = np.arange(len(heads), dtype=np.int32)
    of[order[heads]] = ranks
    repeats = np.flatnonzero(again)
    of[order[repeats]] = ranks[np.searchsorted(heads, repeats) - 1]
    return Groups(of, first)


def marked(read: Iterable[Window], groups: Groups) -> Iterator[Marked]:
    """The same windows again."""
    start = 0
    for window in read:
        stop = start + len(window.batch.values)
        yield Marked(window, groups.of[start:stop], groups.first[start:stop])
        start = stop


class Vectors:
    """Vectors of texts that come again, in a file that is gone when it is closed. A context manager."""

    def __init__(self, folder: str, dimensions: int) -> None:
        """folder: where there is room; of an object store, the folder for temporary files is taken."""
        handle, name = tempfile.mkstemp(dir=None if storage.is_remote(folder) else folder, prefix=".part-")
        Path(name).unlink()
        self._folder = Path(name).parent
        self._handle = handle
        self._size = 4 * dimensions
        self._dimensions = dimensions

    def complete(self, some: Marked, computed: NDArray[np.float32]) -> NDArray[np.float32]:
        """All vectors of a window, of those that were computed. Windows come in order."""
        if some.compute.all():
            self._keep(some.groups, computed)
            return computed
        vectors = np.empty((len(some.compute), self._dimensions), np.float32)
        vectors[some.compute] = computed
        self._keep(some.groups[some.compute], computed)
        for row in np.flatnonzero(~some.compute):
            data = os.pread(self._handle, self._size, int(some.groups[row]) * self._size)
            vectors[row] = np.frombuffer(data, np.float32)
        return vectors

    def _keep(self, groups: NDArray[np.int32], vectors: NDArray[np.float32]) -> None:
        kept = np.flatnonzero(groups != _NONE)
        if len(kept):
            data = memoryview(vectors[kept].tobytes())
            at = int(groups[kept[0]]) * self._size
            with naming(f"the vectors of texts that come again, in {self._folder}"):
                while data:
                    written = os.pwrite(self._handle, data, at)
                    data, at = data[written:], at + written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._handle)


def _digests(texts: Sequence[str]) -> bytes:
    return b"".join(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in texts)
