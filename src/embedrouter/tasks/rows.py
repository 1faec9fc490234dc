"""Items as rows of unit vectors that are made when they are looked at: of texts, arrays or memory-mapped files."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.vectors import Encoder, Items, Vectors, default_encoder, unit_vectors

Numbers: TypeAlias = NDArray[np.int64]

_ENCODED: Final = 16_384  # texts embedded at a time


class UnitRows(Protocol):
    """n unit vectors, as many at a time as the reader wants in memory."""

    @property
    def dimensions(self) -> int: ...

    def __len__(self) -> int: ...

    def take(self, rows: Numbers) -> Vectors:
        """(len(rows), dimensions)"""

    def blocks(self, size: int) -> Iterator[tuple[Numbers, Vectors]]:
        """All rows in order, with their numbers, `size` at a time."""

    def held(self, dtype: type[np.floating] = np.float32) -> "UnitRows":
        """The same, which may be read as often as one likes without making the vectors again. dtype: to keep them."""


def unit_rows(items: Items, encoder: Encoder | None = None, name: str = "item") -> UnitRows:
    """Rows of texts or vectors. name: what an error calls one of them. Raises InvalidRequestError."""
    if isinstance(items, np.ndarray):
        if items.ndim != 2:
            raise InvalidRequestError(f"vectors have the shape (n, dimensions), and these {items.shape}")
        return ArrayRows(items, name)
    if isinstance(items, str):
        raise InvalidRequestError("one text was given where a list of texts is expected; put it into a list")
    return TextRows(items, default_encoder() if encoder is None else encoder, name)


class ArrayRows:
    """Rows of an array, which may be memory-mapped and of any float type; it is never copied whole."""

    def __init__(self, vectors: NDArray[np.floating], name: str) -> None:
        self._vectors = vectors
        self._name = name

    @property
    def dimensions(self) -> int:
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        return len(self._vectors)

    def take(self, rows: Numbers) -> Vectors:
        return self._unit(np.asarray(self._vectors[rows]), rows)

    def blocks(self, size: int) -> Iterator[tuple[Numbers, Vectors]]:
        for start in range(0, len(self), size):
            part = np.asarray(self._vectors[start : start + size])
            rows = np.arange(start, start + len(part))
            yield rows, self._unit(part, rows)

    def held(self, dtype: type[np.floating] = np.float32) -> UnitRows:
        return self

    def _unit(self, part: NDArray[np.floating], rows: Numbers) -> Vectors:
        vectors = part.astype(np.float32, copy=False)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if wrong.size:
            what = f"the vector of {self._name} {rows[wrong[0]]}"
            raise InvalidRequestError(f"{what} is zero or not finite, so it has no direction")
        if not lengths.size or np.abs(lengths - 1.0).max() < 1e-6:
            return vectors
        unit: Vectors = (vectors / lengths[:, None]).astype(np.float32)
        return unit


class TextRows:
    """Rows of texts, embedded a block at a time."""

    def __init__(self, texts: Sequence[str], encoder: Encoder, name: str) -> None:
        given: Sequence[object] = texts
        for number, text in enumerate(given):
            if not isinstance(text, str) or not text.strip():
                raise InvalidRequestError(f"{name} {number} is {'empty' if isinstance(text, str) else 'not a text'}")
        self._texts = texts
        self._encoder = encoder
        self._name = name

    @property
    def dimensions(self) -> int:
        return self._encoder.dimensions

    def __len__(self) -> int:
        return len(self._texts)

    def take(self, rows: Numbers) -> Vectors:
        return unit_vectors([self._texts[row] for row in rows], self._encoder)

    def blocks(self, size: int) -> Iterator[tuple[Numbers, Vectors]]:
        for start in range(0, len(self), size):
            part = self._texts[start : start + size]
            yield np.arange(start, start + len(part)), unit_vectors(part, self._encoder)

    def held(self, dtype: type[np.floating] = np.float32) -> UnitRows:
        vectors = np.empty((len(self), self.dimensions), dtype)
        for rows, block in self.blocks(_ENCODED):
            vectors[rows[0] : rows[0] + len(rows)] = block
        return ArrayRows(vectors, self._name)
