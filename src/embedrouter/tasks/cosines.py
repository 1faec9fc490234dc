"""Cosines of vectors of whatever length, in [-1, 1]; computed in float64, so that a text's with itself is 1."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Directions: TypeAlias = NDArray[np.float64]
"""(n, dimensions), each of length 1, or zero."""
Cosines: TypeAlias = NDArray[np.float32]

_BLOCK: Final = 4_096  # pairs


def directions(vectors: NDArray[np.floating]) -> Directions:
    """Vectors (n, dimensions) brought to length 1; one of zeros, which has no direction, has a cosine of 0 with all."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    found: Directions = exact / np.where(lengths > 0, lengths, 1.0)
    return found


def cosines(left: Directions, right: Directions) -> Cosines:
    """(n, m) of each left one with each right one."""
    return _bounded(left @ right.T)


def paired(vectors: Directions, pairs: NDArray[np.int64]) -> Cosines:
    """(n,) of pairs (n, 2) of rows of `vectors`; in memory that does not grow with n but for the answer."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _BLOCK):
        left, right = pairs[start : start + _BLOCK].T
        found[start : start + _BLOCK] = _bounded(np.einsum("nd,nd->n", vectors[left], vectors[right]))
    return found


def crossed(vectors: Directions, left: NDArray[np.int64], right: NDArray[np.int64]) -> Cosines:
    """(n, m) of rows with rows of `vectors`, each two different ones computed once."""
    (lefts, row), (rights, column) = np.unique(left, return_inverse=True), np.unique(right, return_inverse=True)
    return cosines(vectors[lefts], vectors[rights])[np.ix_(row, column)]


def _bounded(found: NDArray[np.float64]) -> Cosines:
    return np.clip(found, -1.0, 1.0).astype(np.float32)
