"""Cells: rows by the centre they are nearest to, and those near enough to have neighbours on its side."""

import math
from typing import Final

import numpy as np

from embedrouter.tasks.best import BLOCK
from embedrouter.tasks.rows import Numbers, UnitRows
from embedrouter.tasks.vectors import Vectors

_ROUNDS: Final = 4  # of k-means
_LEARNT: Final = 32  # rows for each centre, of which the centres are made
_AT_ONCE: Final = 8_192  # rows that look for their centres
_REACH: Final = 0.25  # of the distance of two near rows: so much further off may the centre of the other be; measured
_MOST: Final = 16  # cells in which a row is a guest
_SEED: Final = 0


class Cells:
    """Every row is a member of one cell, and a guest in some others."""

    def __init__(self, count: int, homes: Numbers, guests: Numbers, hosts: Numbers) -> None:
        """homes: the cell of each row. guests, hosts: rows, ascending, and the cells they visit."""
        every = np.arange(count)
        self.count = count
        self._members = np.argsort(homes, kind="stable")
        self._member_ends = np.searchsorted(homes[self._members], every, "right")
        order = np.argsort(hosts, kind="stable")
        self._guests = guests[order]
        self._guest_ends = np.searchsorted(hosts[order], every, "right")

    def members(self, cell: int) -> Numbers:
        """Rows whose centre this is, ascending."""
        return self._members[self._member_ends[cell - 1] if cell else 0 : self._member_ends[cell]]

    def guests(self, cell: int) -> Numbers:
        """Rows of other cells whose neighbours may be here."""
        return self._guests[self._guest_ends[cell - 1] if cell else 0 : self._guest_ends[cell]]


def divided(rows: UnitRows, threshold: float) -> Cells:
    """Cells of which two rows with a cosine of `threshold` nearly always share one: as member and member or guest."""
    centres = _centres(rows, max(1, int(2 * math.sqrt(len(rows)))))
    margin = _REACH * math.sqrt(max(0.0, 2 - 2 * threshold))
    homes = np.empty(len(rows), np.int64)
    guests: list[Numbers] = []
    hosts: list[Numbers] = []
    for numbers, vectors in rows.blocks(_AT_ONCE):
        nearness = vectors @ centres.T
        home = nearness.argmax(axis=1)
        places = np.arange(len(numbers))
        least = nearness[places, home] - margin
        nearness[places, home] = -2.0
        if nearness.shape[1] > _MOST:
            least = np.maximum(least, np.partition(nearness, -_MOST, axis=1)[:, -_MOST])
        row, cell = np.nonzero(nearness >= least[:, None])
        homes[numbers] = home
        guests.append(numbers[row])
        hosts.append(cell)
    return Cells(len(centres), homes, np.concatenate(guests), np.concatenate(hosts))


def _centres(rows: UnitRows, count: int) -> Vectors:
    """Centres of spherical k-means over a sample."""
    random = np.random.default_rng(_SEED)
    sample = rows.take(np.sort(random.choice(len(rows), min(len(rows), _LEARNT * count), replace=False)))
    centres: Vectors = sample[random.choice(len(sample), count, replace=False)]
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centres)
        for start in range(0, len(sample), BLOCK):
            some = sample[start : start + BLOCK]
            home = (some @ centres.T).argmax(axis=1)
            np.add.at(sums, home, some)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres).astype(np.float32)
    return centres
