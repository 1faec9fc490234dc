"""The best of many scores: exactly, and in an order that neither block sizes nor the matrix library decide."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedrouter.tasks.rows import Numbers
from embedrouter.tasks.vectors import Vectors

BLOCK: Final = 16_384  # rows multiplied at a time
TOGETHER: Final = 256  # queries multiplied at a time: 16 MB of scores with a block
NOISE: Final = 2e-6  # a product of matrices may differ by so much from the exact cosine
_CROWD: Final = 256  # near ties that are looked at beyond k


class Best:
    """The k best rows of each of n queries, of blocks that come by. Ties: the lower row."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.rows: list[Numbers] = [np.empty(0, np.int64)] * queries
        self.scores: list[NDArray[np.float64]] = [np.empty(0)] * queries

    def offer(self, queries: Vectors, numbers: Numbers, block: Vectors, rows: Numbers) -> None:
        """Look at a block (m, dimensions) whose vectors have these ascending row numbers (m,).

        numbers: of the queries (n, dimensions), 0 to the count that was made room for.
        """
        if not self.k or not len(block):
            return
        products = queries @ block.T
        for at, number in enumerate(numbers.tolist()):
            self._look(number, queries[at], products[at], block, rows)

    def _look(
        self, number: int, query: NDArray[np.float32], products: NDArray[np.float32], block: Vectors, rows: Numbers
    ) -> None:
        known = self.scores[number]
        least = known[-1] if len(known) == self.k else -np.inf
        near = np.flatnonzero(products >= least - NOISE)
        if not near.size:
            return
        if near.size > self.k:
            near = near[_leading(products[near], self.k)]
        scores = np.concatenate((known, cosines(block[near], query)))
        found = np.concatenate((self.rows[number], rows[near]))
        order = np.lexsort((found, -scores))[: self.k]
        self.scores[number], self.rows[number] = scores[order], found[order]


def top(scores: NDArray[np.floating], k: int) -> Numbers:
    """Places of the k highest of `scores` (n,), best first; ties: the lower place."""
    k = min(max(k, 0), len(scores))
    if not k:
        return np.empty(0, np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= least)
    return places[np.argsort(-scores[places], kind="stable")[:k]].astype(np.int64, copy=False)


def cosines(rows: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosines (n,) of vectors (n, dimensions) with one, or with as many: equal vectors get equal scores, wherever
    they stand, and a vector has exactly 1 with itself."""
    left, right = rows.astype(np.float64), others.astype(np.float64)
    lengths = np.sqrt((left * left).sum(axis=-1) * (right * right).sum(axis=-1))
    scores: NDArray[np.float64] = np.clip((left * right).sum(axis=-1) / lengths, -1.0, 1.0)
    return scores


def _leading(products: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Places that hold the k best, whatever the noise; of many that tie, the first."""
    least = np.partition(products, len(products) - k)[len(products) - k]
    sure = np.flatnonzero(products > least + NOISE)
    close = np.flatnonzero(np.abs(products - least) <= NOISE)[: k + _CROWD]
    return np.concatenate((sure, close))
