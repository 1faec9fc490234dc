"""Where an index keeps its vectors: as float32, float16, or int8 with a scale for each vector."""

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedrouter.tasks.column import Column
from embedrouter.tasks.rows import Numbers
from embedrouter.tasks.vectors import Vectors

Storage: TypeAlias = Literal["float32", "float16", "int8"]
STORAGES: Final[tuple[Storage, ...]] = ("float32", "float16", "int8")

Codes: TypeAlias = NDArray[np.int8]
"""(n, dimensions): a vector's direction, its largest component being 127 or -127."""


class VectorStore:
    """Unit vectors by row number."""

    def __init__(self, dimensions: int, storage: Storage, base: NDArray[Any] | None = None) -> None:
        """base: the first rows, as stored."""
        self.dimensions = dimensions
        self.storage = storage
        self.column = Column(storage, (dimensions,), base)

    def __len__(self) -> int:
        return len(self.column)

    def append(self, vectors: Vectors) -> None:
        """Add unit vectors (n, dimensions) at the end."""
        self.column.append(quantised(vectors) if self.storage == "int8" else vectors)

    def take(self, rows: Numbers) -> Vectors:
        """Unit vectors of these rows, as they are stored: (len(rows), dimensions)."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self._decoded(self.column.slice(int(rows[0]), int(rows[-1]) + 1))
        return self._decoded(self.column.take(rows))

    def codes(self, start: int, end: int) -> Codes:
        """Rows start..end-1 as int8."""
        kept = self.column.slice(start, end)
        return kept if self.storage == "int8" else quantised(kept.astype(np.float32, copy=False))

    def _decoded(self, kept: NDArray[Any]) -> Vectors:
        vectors: Vectors = kept.astype(np.float32, copy=False)
        if self.storage == "float32":
            return vectors
        lengths: Vectors = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        vectors /= lengths[:, None]
        return vectors


def quantised(vectors: Vectors) -> Codes:
    """Vectors as int8, each by a scale of its own: a direction needs none to be kept."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    codes: Codes = np.rint(vectors * (127.0 / largest)).astype(np.int8)
    return codes
