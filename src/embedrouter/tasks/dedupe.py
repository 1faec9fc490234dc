"""Near duplicates: items that say the same, and which one of them to keep."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.pairs import check_threshold, near_pairs
from embedrouter.tasks.rows import Numbers, UnitRows, unit_rows
from embedrouter.tasks.unions import Unions
from embedrouter.tasks.vectors import Encoder, Items

Keep: TypeAlias = Literal["first", "longest", "central"]
_HALVED: Final = 200_000  # texts, from which on their vectors are held as float16
_SUMMED: Final = 16_384  # vectors at a time
KEEPS: Final[tuple[Keep, ...]] = ("first", "longest", "central")


class Duplicates(msgspec.Struct, frozen=True):
    """Which items are kept, and for which of them each of the others is left out."""

    kept: Numbers  # indexes, ascending
    of: Numbers  # for each item the index of the one kept for it; a kept one is its own

    @property
    def groups(self) -> list[list[int]]:
        """Items that are duplicates of each other, two or more: the kept one first, then the others, ascending."""
        left_out = np.flatnonzero(self.of != np.arange(len(self.of)))
        members: dict[int, list[int]] = {}
        for item, kept in zip(left_out.tolist(), self.of[left_out].tolist(), strict=True):
            members.setdefault(kept, [kept]).append(item)
        return [members[kept] for kept in sorted(members)]


def deduplicate(
    items: Items,
    *,
    threshold: float = 0.95,
    keep: Keep = "first",
    texts: Sequence[str] | None = None,
    encoder: Encoder | None = None,
) -> Duplicates:
    """Group the items that a chain of pairs with a cosine of at least `threshold` connects, and keep one of each.

    keep: the first, the one with the longest text, or the one nearest to the middle of its group; ties: the first.
    texts: of items given as vectors, for "longest". Exact up to 50,000 items; of more, see docs/search.md.
    Raises InvalidRequestError, and what the encoder raises.
    """
    check_threshold(threshold)
    if keep not in KEEPS:
        raise InvalidRequestError(f"keep is one of {', '.join(KEEPS)}, not {keep}")
    lengths = _lengths(items, texts) if keep == "longest" else None
    rows = unit_rows(items, encoder)
    rows = rows.held(np.float32 if len(rows) < _HALVED else np.float16)
    unions = Unions(len(rows))
    for pairs in near_pairs(rows, threshold, unions.apart):
        unions.join(pairs.left, pairs.right)
    of = unions.roots()
    if lengths is not None:
        of = _best_of(of, lengths)
    elif keep == "central":
        of = _best_of(of, _nearness(of, rows))
    return Duplicates(np.flatnonzero(of == np.arange(len(of))), of)


def _lengths(items: Items, texts: Sequence[str] | None) -> NDArray[np.float64]:
    known: Sequence[str] | None = texts
    if known is None and not isinstance(items, np.ndarray):
        known = items
    if known is None:
        raise InvalidRequestError('keep="longest" needs the texts: give them with texts=')
    if len(known) != len(items):
        raise InvalidRequestError(f"there are {len(items)} items and {len(known)} texts")
    return np.fromiter((len(text) for text in known), np.float64, len(known))


def _nearness(of: Numbers, rows: UnitRows) -> NDArray[np.float64]:
    """How near each item is to the middle of its group; 0 for one that has no duplicates."""
    nearness = np.zeros(len(of))
    shared = np.flatnonzero(np.bincount(of, minlength=len(of))[of] > 1)
    shared = shared[np.argsort(of[shared], kind="stable")]
    starts = np.flatnonzero(np.diff(of[shared], prepend=-1))
    for members in np.split(shared, starts[1:]):
        middle = np.zeros(rows.dimensions)
        blocks = [members[at : at + _SUMMED] for at in range(0, len(members), _SUMMED)]
        for block in blocks:
            middle += rows.take(block).sum(axis=0, dtype=np.float64)
        for block in blocks:
            # Two are as near to their middle as each other; rounding errors must not choose.
            nearness[block] = np.round(rows.take(block) @ middle / np.linalg.norm(middle), 6)
    return nearness


def _best_of(of: Numbers, values: NDArray[np.float64]) -> Numbers:
    """The same groups, each named by its item of the highest value; ties: the first."""
    order = np.lexsort((np.arange(len(of)), -values, of))
    firsts = np.concatenate(([True], np.diff(of[order]) != 0)) if len(of) else np.empty(0, np.bool_)
    best = np.empty(len(of), np.int64)
    best[order] = order[np.maximum.accumulate(np.where(firsts, np.arange(len(of)), 0))]
    return best
