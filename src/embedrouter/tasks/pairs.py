"""Pairs of rows whose cosine reaches a threshold."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.best import NOISE, cosines
from embedrouter.tasks.cells import divided
from embedrouter.tasks.rows import Numbers, UnitRows
from embedrouter.tasks.vectors import Vectors

Apart: TypeAlias = Callable[[Numbers, Numbers], NDArray[np.bool_]]

EXACT: Final = 50_000  # rows up to which every pair is looked at
BLOCK: Final = 2_048  # rows multiplied with as many: 16 MB of scores
_CHECKED: Final = 8_192  # pairs whose cosines are computed at a time


class Part(NamedTuple):
    """Some rows."""

    numbers: Numbers
    vectors: Vectors


class NearPairs(msgspec.Struct, frozen=True):
    """Pairs, as three columns of the same length; left < right."""

    scores: NDArray[np.float64]
    left: Numbers
    right: Numbers

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """All pairs of `parts`."""
        if not parts:
            return cls(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.left for part in parts]),
            np.concatenate([part.right for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, places: NDArray[np.intp]) -> Self:
        """The pairs at these places."""
        return type(self)(self.scores[places], self.left[places], self.right[places])

    def best(self, most: int | None) -> Self:
        """Each pair once, best first; ties by left and right."""
        order = np.lexsort((self.right, self.left, -self.scores))
        ranked = self.at(order)
        if len(ranked) > 1:
            again = (np.diff(ranked.left) == 0) & (np.diff(ranked.right) == 0)
            ranked = ranked.at(np.flatnonzero(np.concatenate(([True], ~again))))
        return ranked if most is None else ranked.at(np.arange(min(most, len(ranked))))


def check_threshold(threshold: float) -> None:
    """Raises InvalidRequestError unless it is a cosine."""
    if not -1.0 <= threshold <= 1.0:
        raise InvalidRequestError(f"threshold is a cosine, -1 to 1, not {threshold}")


def near_pairs(rows: UnitRows, threshold: float, apart: Apart | None = None) -> Iterator[NearPairs]:
    """The pairs of at least `threshold`, some at a time; of more than `EXACT` rows nearly all, some of them twice.

    rows: held. apart: tells of pairs (left, right) which are of interest still, for a caller that needs not all.
    """
    if len(rows) <= EXACT:
        return every_pair(rows, threshold, apart)
    return likely_pairs(rows, threshold, apart)


def every_pair(rows: UnitRows, threshold: float, apart: Apart | None = None) -> Iterator[NearPairs]:
    """Each row is compared with each."""
    for numbers, vectors in rows.blocks(BLOCK):
        part = Part(numbers, vectors)
        yield from _near(part, part, threshold, apart)
        for start in range(int(numbers[-1]) + 1, len(rows), BLOCK):
            others = np.arange(start, min(start + BLOCK, len(rows)))
            yield from _near(part, Part(others, rows.take(others)), threshold, apart)


def likely_pairs(rows: UnitRows, threshold: float, apart: Apart | None = None) -> Iterator[NearPairs]:
    """Each row is compared with those of the cells it is near to."""
    cells = divided(rows, threshold)
    for cell in range(cells.count):
        members, guests = cells.members(cell), cells.guests(cell)
        for start in range(0, len(members), BLOCK):
            numbers = members[start : start + BLOCK]
            part = Part(numbers, rows.take(numbers))
            yield from _near(part, part, threshold, apart)
            others = np.concatenate((members[start + BLOCK :], guests))
            for at in range(0, len(others), BLOCK):
                some = others[at : at + BLOCK]
                yield from _near(part, Part(some, rows.take(some)), threshold, apart)


def _near(left: Part, right: Part, threshold: float, apart: Apart | None) -> Iterator[NearPairs]:
    """Pairs of one of `left` and one of `right`: two parts without a row in common, or twice the same one."""
    near = left.vectors @ right.vectors.T >= threshold - NOISE
    ones, others = np.nonzero(np.triu(near, 1) if left is right else near)
    for start in range(0, len(ones), _CHECKED):
        one, other = ones[start : start + _CHECKED], others[start : start + _CHECKED]
        if apart is not None:
            wanted = apart(left.numbers[one], right.numbers[other])
            one, other = one[wanted], other[wanted]
        scores = cosines(left.vectors[one], right.vectors[other])
        enough = scores >= threshold
        a, b = left.numbers[one[enough]], right.numbers[other[enough]]
        yield NearPairs(scores[enough], np.minimum(a, b), np.maximum(a, b))
