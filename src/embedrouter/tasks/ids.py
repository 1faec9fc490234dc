"""The ids of an index's rows, and which rows were deleted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import ConflictError, InvalidRequestError
from embedrouter.tasks.rows import Numbers


class Ids:
    """An id for each row; of a deleted row it may be given again."""

    def __init__(self, ids: Numbers | None = None, alive: NDArray[np.bool_] | None = None, next_id: int = 0) -> None:
        self._count = 0 if ids is None else len(ids)
        self._ids: Numbers = np.empty(0, np.int64) if ids is None else ids
        self._alive: NDArray[np.bool_] = np.empty(0, np.bool_) if alive is None else alive
        self.live = int(self._alive.sum())
        self.next_id = next_id
        self._rows: dict[int, int] | None = None  # of the rows not deleted, once the ids do not ascend
        if self._count and not (np.diff(self._ids) > 0).all():
            self._look_up()

    def __len__(self) -> int:
        """Rows, the deleted ones included."""
        return self._count

    @property
    def nbytes(self) -> int:
        return self._ids.nbytes + self._alive.nbytes + (0 if self._rows is None else 100 * len(self._rows))

    @property
    def ids(self) -> Numbers:
        """Of each row."""
        return self._ids[: self._count]

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Of each row."""
        return self._alive[: self._count]

    def chosen(self, ids: list[int] | None, count: int) -> Numbers:
        """The ids that `count` new rows get: these, or the next ones.

        Raises InvalidRequestError, ConflictError naming an id that is given twice.
        """
        if ids is None:
            return np.arange(self.next_id, self.next_id + count)
        if len(ids) != count:
            raise InvalidRequestError(f"there are {count} items and {len(ids)} ids")
        wrong = [one for one in ids if isinstance(one, bool) or not isinstance(one, int | np.integer)]
        if wrong or not all(0 <= one < 2**63 - 1 for one in ids):
            raise InvalidRequestError("an id is a whole number, 0 to 2**63 - 2")
        new = np.asarray(ids, np.int64)
        values, counts = np.unique(new, return_counts=True)
        twice = values[counts > 1]
        there = new[self.find(new) >= 0]
        if twice.size:
            raise ConflictError(f"id {twice[0]} is given to two items")
        if there.size:
            raise ConflictError(f"id {there[0]} is in the index already: delete it first")
        return new

    def append(self, ids: Numbers) -> None:
        """Rows for ids that `chosen` gave."""
        if not len(ids):
            return
        last = int(self._ids[self._count - 1]) if self._count else -1
        if self._rows is None and not (ids[0] > last and (np.diff(ids) > 0).all()):
            self._look_up()
        if self._rows is not None:
            self._rows.update(zip(ids.tolist(), range(self._count, self._count + len(ids)), strict=True))
        self._ids = _grown(self._ids, self._count, ids)
        self._alive = _grown(self._alive, self._count, np.ones(len(ids), np.bool_))
        self._count += len(ids)
        self.live += len(ids)
        self.next_id = max(self.next_id, int(ids.max()) + 1)

    def find(self, ids: Numbers) -> Numbers:
        """The row of each id; -1 for one that is not there or deleted."""
        if self._rows is not None:
            return np.fromiter((self._rows.get(one, -1) for one in ids.tolist()), np.int64, len(ids))
        if not self._count:
            return np.full(len(ids), -1)
        rows = np.minimum(np.searchsorted(self.ids, ids), self._count - 1)
        return np.where((self.ids[rows] == ids) & self.alive[rows], rows, -1)

    def delete(self, ids: Numbers) -> int:
        """Mark the rows of these ids; those that are not there are passed over. Returns how many were."""
        rows = np.unique(self.find(ids))
        rows = rows[rows >= 0]
        self._alive[rows] = False
        self.live -= len(rows)
        if self._rows is not None:
            for one in self._ids[rows].tolist():
                del self._rows[one]
        return len(rows)

    def _look_up(self) -> None:
        rows = np.flatnonzero(self.alive)
        self._rows = dict(zip(self.ids[rows].tolist(), rows.tolist(), strict=True))


def _grown(held: NDArray[Any], count: int, new: NDArray[Any]) -> NDArray[Any]:
    """`held` with `new` from `count` on, with room for as many again."""
    needed = count + len(new)
    if needed > len(held):
        larger = np.empty(max(needed, 2 * count, 64), held.dtype)
        larger[:count] = held[:count]
        held = larger
    held[count:needed] = new
    return held
