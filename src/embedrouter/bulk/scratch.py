"""Room for the vectors of a file: in memory, or where they are many in a file that goes with the process."""

import tempfile
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Scratch: TypeAlias = NDArray[np.floating]
"""(n, dimensions): float32, or float16 in a file."""

IN_MEMORY: Final = 200_000  # vectors; 300 MB at 384 dimensions


def scratch(rows: int, dimensions: int) -> Scratch:
    """Zeros to be filled. Beyond IN_MEMORY rows they are float16, which moves a cosine by less than 0.001.

    Raises OSError where the folder of temporary files is full.
    """
    if rows <= IN_MEMORY:
        return np.zeros((rows, dimensions), np.float32)
    # It has no name, so it is gone with the last who maps it, however this process ends.
    with tempfile.TemporaryFile(prefix="embedrouter-") as file:
        return np.memmap(file, np.float16, "w+", shape=(rows, dimensions))


def rows_of(vectors: Scratch, rows: NDArray[np.int64]) -> Scratch:
    """Some of the rows, ascending; nothing is copied where that is all of them."""
    if len(rows) == len(vectors):
        return vectors
    chosen = scratch(len(rows), vectors.shape[1])
    for start in range(0, len(rows), IN_MEMORY):
        chosen[start : start + IN_MEMORY] = vectors[rows[start : start + IN_MEMORY]]
    return chosen
