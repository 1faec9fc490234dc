"""Vectors like the model's in any number: real ones of the corpora, mixed with each other on the sphere."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedrouter.minilm import MiniLM
from texts import MIX, load

_BLOCK = 65_536
_ALIKE = 20
_SEED = 7


def real_vectors(data: Path, kept: Path) -> NDArray[np.float32]:
    """Those of all texts of the mixed corpora, some 23,000; computed once and kept in a file."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with MiniLM() as model:
            np.save(kept, model.encode([text for name in MIX for text, _ in load(name, data)], truncate=True))
    vectors: NDArray[np.float32] = np.load(kept)
    return vectors


def mixed(real: NDArray[np.float32], count: int, seed: int = _SEED) -> NDArray[np.float32]:
    """`count` unit vectors: each a real one, moved towards one of its own topic and along the difference of two others.

    So they lie where real ones lie and are as near to each other as those of a corpus of that size.
    """
    random = np.random.default_rng(seed)
    alike = _neighbours(real)
    vectors = np.empty((count, real.shape[1]), np.float32)
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        first, *others = random.integers(0, len(real), (3, rows))
        second = alike[first, random.integers(0, _ALIKE, rows)]
        towards = random.uniform(0.1, 0.7, (rows, 1)).astype(np.float32)
        block = real[first] + towards * (real[second] - real[first])
        block += np.float32(0.2) * (real[others[0]] - real[others[1]])
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        vectors[start : start + rows] = block
    return vectors


def _neighbours(real: NDArray[np.float32]) -> NDArray[np.intp]:
    """The nearest others of each, in no order: (n, _ALIKE)."""
    blocks = []
    for start in range(0, len(real), 2_048):
        scores = real[start : start + 2_048] @ real.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -2.0
        blocks.append(np.argpartition(scores, -_ALIKE, axis=1)[:, -_ALIKE:])
    return np.concatenate(blocks)
