"""Union-find over numbers 0..n-1, a column of pairs at a time."""

import numpy as np
from numpy.typing import NDArray

from embedrouter.tasks.rows import Numbers


class Unions:
    """Sets of numbers, each named by its lowest."""

    def __init__(self, count: int) -> None:
        self._parent: Numbers = np.arange(count)

    def join(self, left: Numbers, right: Numbers) -> None:
        """Make one set of the sets of left[i] and right[i], for every i."""
        while left.size:
            left, right = self.find(left), self.find(right)
            apart = left != right
            low, high = np.minimum(left[apart], right[apart]), np.maximum(left[apart], right[apart])
            # Of several pairs that hang the same root somewhere, the lowest place wins; the others come round again.
            np.minimum.at(self._parent, high, low)
            left, right = low, high

    def find(self, numbers: Numbers) -> Numbers:
        """The lowest of each number's set."""
        roots = self._parent[numbers]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[numbers] = roots
        return roots

    def apart(self, left: Numbers, right: Numbers) -> NDArray[np.bool_]:
        """Whether left[i] and right[i] are in different sets, for every i."""
        return np.asarray(self.find(left) != self.find(right))

    def roots(self) -> Numbers:
        """For every number the lowest of its set."""
        return self.find(np.arange(len(self._parent)))
