"""Paraphrases: the pairs of items that say nearly the same."""

from typing import Final, NamedTuple

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.pairs import NearPairs, check_threshold, near_pairs
from embedrouter.tasks.rows import unit_rows
from embedrouter.tasks.vectors import Encoder, Items

_TOO_MANY: Final = 20_000_000  # pairs, found at a threshold that is too low


class Pair(NamedTuple):
    """Two items that are near to each other."""

    score: float  # cosine
    left: int  # below `right`
    right: int


def paraphrase_pairs(
    items: Items, *, threshold: float = 0.8, most: int | None = None, encoder: Encoder | None = None
) -> list[Pair]:
    """The pairs with a cosine of at least `threshold`, best first; ties by left and right. most: only so many.

    Exact up to 50,000 items; of more, see docs/search.md. Raises InvalidRequestError, also when more than 20 million
    pairs reach the threshold and `most` is not given.
    """
    check_threshold(threshold)
    if most is not None and most < 1:
        raise InvalidRequestError(f"most has to be at least 1, not {most}")
    parts: list[NearPairs] = []
    count, enough = 0, _TOO_MANY if most is None else 4 * most + 100_000
    for some in near_pairs(unit_rows(items, encoder).held(), threshold):
        parts.append(some)
        count += len(some)
        if count > enough:
            parts = [NearPairs.joined(parts).best(most)]
            count = len(parts[0])
            if count > enough:
                what = f"more than {_TOO_MANY:,} pairs reach {threshold}"
                raise InvalidRequestError(f"{what}: raise the threshold, or say how many with most=")
    found = NearPairs.joined(parts).best(most)
    columns = (found.scores.tolist(), found.left.tolist(), found.right.tolist())
    return [Pair(*row) for row in zip(*columns, strict=True)]
