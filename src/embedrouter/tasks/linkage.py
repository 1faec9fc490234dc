"""Groups whose mean cosine stays above a threshold: agglomerative clustering by average linkage.

Two groups join while the mean cosine between their items is at least the threshold, the closest first. Groups with no
pair above the threshold between them never join; so the items fall apart into islands first, in bounded memory, and
only the pairs within an island are all held at once.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.kmeans import Labels
from embedrouter.tasks.vectors import Vectors

MOST: Final = 200_000  # items: every two are compared
MOST_TOGETHER: Final = 20_000  # items of an island: 3.2 GB for its pairs
_PAIRS: Final = 1 << 22  # compared at once
_ROUNDING: Final = 1e-6  # of a cosine in float32


def linked_groups(vectors: Vectors, threshold: float, smallest: int) -> Labels:
    """Groups of at least `smallest` items; -1 for the others. threshold: a cosine.

    Raises InvalidRequestError for over 200,000 items, and where over 20,000 hang together by pairs above it.
    """
    if len(vectors) > MOST:
        raise InvalidRequestError(
            f"agglomerative takes up to {MOST:,} items, and these are {len(vectors):,}: "
            "use kmeans, or leave near duplicates out first"
        )
    islands = _islands(vectors, threshold)
    largest = int(np.bincount(islands).max())
    if largest > MOST_TOGETHER:
        raise InvalidRequestError(
            f"at a threshold of {threshold:g}, {largest:,} items hang together, and agglomerative takes "
            f"{MOST_TOGETHER:,} of them: use a higher threshold, or kmeans"
        )
    order = np.argsort(islands, kind="stable")
    labels = np.empty(len(vectors), np.int64)
    used = 0
    for members in np.split(order, np.flatnonzero(np.diff(islands[order])) + 1):
        labels[members] = used + _joined(vectors[members], threshold)
        used = labels[members].max() + 1
    labels[np.bincount(labels)[labels] < smallest] = -1
    return labels


def _islands(vectors: Vectors, threshold: float) -> NDArray[np.int64]:
    """The connected components of the pairs with a cosine of at least the threshold."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(vectors)
    islands = np.arange(count)
    rows = max(1, _PAIRS // count)
    for start in range(0, count, rows):
        close = vectors[start : start + rows] @ vectors[start:].T >= threshold - _ROUNDING
        close &= islands[start : start + rows, None] != islands[None, start:]
        left, right = np.nonzero(close)
        ends = (islands[left + start], islands[right + start])
        graph = coo_array((np.ones(len(left), np.bool_), ends), shape=(count, count))
        joined = connected_components(graph, directed=False)[1].astype(np.int64)
        islands = joined[islands]
    return islands


def _joined(vectors: Vectors, threshold: float) -> Labels:
    """Groups of one island, from 0."""
    from scipy.cluster.hierarchy import fcluster, linkage

    count = len(vectors)
    if count == 1:
        return np.zeros(1, np.int64)
    distances = np.empty(count * (count - 1) // 2, np.float64)
    at = 0
    for row in range(count - 1):
        following = count - 1 - row
        distances[at : at + following] = 1 - vectors[row + 1 :] @ vectors[row]
        at += following
    np.maximum(distances, 0, out=distances)
    tree = linkage(distances, "average")
    return np.asarray(fcluster(tree, 1 - threshold + _ROUNDING, criterion="distance"), np.int64) - 1
