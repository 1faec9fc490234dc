"""Vectors for tests: directions at random, some of them in bunches, and the plain way to compare them."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def bunches(count: int, dimensions: int, seed: int = 0, spread: float = 0.7) -> Matrix:
    """Unit vectors around as many centres as there are dozens of them."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, count // 12), dimensions))
    return unit(centres[random.integers(0, len(centres), count)] + spread * random.normal(size=(count, dimensions)))


def unit(vectors: NDArray[np.floating]) -> Matrix:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def cosines(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, m)"""
    a, b = left.astype(np.float64), right.astype(np.float64)
    products = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    return np.asarray(products)
