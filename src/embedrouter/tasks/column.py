"""A column that grows without copying what it holds: chunks, of which the first may be a memory-mapped file."""

from bisect import bisect_right
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

_FIRST: Final = 1_024  # rows of the first chunk; each next one doubles the column
_LARGEST: Final = 2**20  # rows of a chunk


class Column:
    """Rows of one type and shape."""

    def __init__(self, dtype: Any, shape: tuple[int, ...] = (), base: NDArray[Any] | None = None) -> None:
        """base: the first rows, which are read only."""
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self._chunks: list[NDArray[Any]] = []
        self._starts: list[int] = []  # row number of each chunk's first row
        self._count = 0
        if base is not None and len(base):
            self._chunks, self._starts, self._count = [base], [0], len(base)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of the rows, mapped or in memory."""
        return int(self._count * self.dtype.itemsize * np.prod(self.shape))

    @property
    def mapped(self) -> int:
        """Bytes of them that are read from a file when they are needed."""
        return sum(chunk.nbytes for chunk in self._chunks[:1] if isinstance(chunk, np.memmap))

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows at the end."""
        done = 0
        while done < len(rows):
            if not self._chunks or self._count == self._starts[-1] + len(self._chunks[-1]):
                size = min(max(_FIRST, self._count, len(rows) - done), _LARGEST)
                self._chunks.append(np.empty((size, *self.shape), self.dtype))
                self._starts.append(self._count)
            chunk, at = self._chunks[-1], self._count - self._starts[-1]
            some = min(len(rows) - done, len(chunk) - at)
            chunk[at : at + some] = rows[done : done + some]
            self._count += some
            done += some

    def truncate(self, count: int) -> None:
        """Forget the rows from `count` on, which must not be among the first, read-only ones."""
        while self._starts and self._starts[-1] >= count:
            self._chunks.pop()
            self._starts.pop()
        self._count = count

    def slice(self, start: int, end: int) -> NDArray[Any]:
        """Rows start..end-1; no copy if they stand together in memory."""
        if not self._chunks or start >= end:
            return np.empty((0, *self.shape), self.dtype)
        parts = [
            chunk[max(0, start - first) : end - first]
            for chunk, first in zip(self._chunks, self._starts, strict=True)
            if first < end and start < first + len(chunk)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def item(self, row: int) -> Any:
        """One row."""
        number = bisect_right(self._starts, row) - 1
        return self._chunks[number][row - self._starts[number]]

    def whole(self) -> NDArray[Any]:
        """All rows."""
        return self.slice(0, self._count)

    def take(self, rows: NDArray[np.integer]) -> NDArray[Any]:
        """Copies of these rows."""
        if len(self._chunks) == 1:
            return np.take(self._chunks[0], rows, axis=0)
        taken = np.empty((len(rows), *self.shape), self.dtype)
        where = np.searchsorted(self._starts, rows, "right") - 1
        for number in np.unique(where):
            here = np.flatnonzero(where == number)
            taken[here] = self._chunks[number][rows[here] - self._starts[number]]
        return taken

    def write(self, file: BinaryIO) -> None:
        """Write all rows as a .npy file."""
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (self._count, *self.shape)})
        chunks = zip(self._chunks, self._starts, strict=True)
        file.writelines(np.ascontiguousarray(chunk[: self._count - first]).data for chunk, first in chunks)
