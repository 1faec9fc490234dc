"""Groups of texts or vectors that are about the same thing, each with its most central one and the words for it."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.density import dense_groups
from embedrouter.tasks.kmeans import Labels, choose_k, kmeans
from embedrouter.tasks.linkage import linked_groups
from embedrouter.tasks.vectors import Encoder, Items, Vectors, unit_vectors
from embedrouter.tasks.words import distinguishing, title

Method: TypeAlias = Literal["kmeans", "hdbscan", "agglomerative"]

METHODS: Final[tuple[Method, ...]] = ("kmeans", "hdbscan", "agglomerative")
THRESHOLD: Final = 0.5  # cosine
_BLOCK: Final = 8192  # vectors


class Cluster(NamedTuple):
    """One group."""

    label: int  # its number in `Clustering.labels`, from 0, by size
    size: int  # items
    central: int  # index of the item nearest to the mean of all
    words: list[str]  # what sets its texts apart, best first; empty where there are no texts
    title: str  # made of the words


class Clustering(NamedTuple):
    """What `cluster` found."""

    labels: Labels  # (n,): the cluster of each item, -1 for none
    clusters: list[Cluster]  # largest first: clusters[i].label == i


def cluster(
    items: Items,
    *,
    method: Method = "kmeans",
    k: int | None = None,
    threshold: float | None = None,
    smallest: int | None = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
    encoder: Encoder | None = None,
) -> Clustering:
    """Group items by what they mean; the same for the same seed.

    kmeans: into k groups, all items belong to one; k=None chooses k by silhouette. hdbscan: dense groups of at least
    `smallest` (5) items, the rest belongs to none. agglomerative: average linkage at a cosine of `threshold` (0.5);
    groups of fewer than `smallest` (2) are none.
    texts: of vectors, for the words. Raises InvalidRequestError.
    """
    _check(method, k, threshold, smallest)
    if texts is None and not isinstance(items, np.ndarray):
        texts = items
    if texts is not None and len(texts) != len(items):
        raise InvalidRequestError(f"there are {len(texts)} texts for {len(items)} vectors")
    if k is not None and k > len(items):
        raise InvalidRequestError(f"k is {k}, and there are only {len(items)} items")
    if not len(items):
        return Clustering(np.empty(0, np.int64), [])
    vectors = unit_vectors(items, encoder)
    if method == "kmeans":
        labels = kmeans(vectors, choose_k(vectors, seed) if k is None else k, seed).labels
    elif method == "hdbscan":
        labels = dense_groups(vectors, 5 if smallest is None else smallest)
    else:
        labels = linked_groups(
            vectors, THRESHOLD if threshold is None else threshold, 2 if smallest is None else smallest
        )
    labels = by_size(labels)
    return Clustering(labels, _described(vectors, labels, texts))


def by_size(labels: Labels) -> Labels:
    """The same groups numbered from the largest; of equal ones first the one with the earliest item. -1 stays."""
    inside = labels >= 0
    old, first, inverse, counts = np.unique(labels[inside], return_index=True, return_inverse=True, return_counts=True)
    numbers = np.empty(len(old), np.int64)
    numbers[np.lexsort((first, -counts))] = np.arange(len(old))
    renamed = np.full(len(labels), -1, np.int64)
    renamed[inside] = numbers[inverse]
    return renamed


def _described(vectors: Vectors, labels: Labels, texts: Sequence[str] | None) -> list[Cluster]:
    groups = int(labels.max()) + 1
    words: list[list[str]] = [[] for _ in range(groups)] if texts is None else distinguishing(texts, labels)
    clusters = []
    for label in range(groups):
        members = np.flatnonzero(labels == label)
        central = int(members[_central(vectors, members)])
        named = title(words[label], "" if texts is None else texts[central], label)
        clusters.append(Cluster(label, len(members), central, words[label], named))
    return clusters


def _central(vectors: Vectors, members: NDArray[np.int64]) -> int:
    """Which of the members is nearest to their mean; a large group is read in blocks, not copied whole."""
    blocks = [members[at : at + _BLOCK] for at in range(0, len(members), _BLOCK)]
    mean = np.sum([vectors[block].sum(axis=0, dtype=np.float64) for block in blocks], axis=0).astype(np.float32)
    return int(np.concatenate([vectors[block] @ mean for block in blocks]).argmax())


def _check(method: Method, k: int | None, threshold: float | None, smallest: int | None) -> None:
    if method not in METHODS:
        raise InvalidRequestError(f"method is one of {', '.join(METHODS)}, not {cast('str', method)!r}")
    if k is not None and method != "kmeans":
        raise InvalidRequestError(f"k is for kmeans: {method} finds the number of clusters by itself")
    if k is not None and k < 1:
        raise InvalidRequestError(f"k must be at least 1, not {k}")
    if threshold is not None and method != "agglomerative":
        raise InvalidRequestError(f"threshold is for agglomerative, not {method}")
    if threshold is not None and not -1 <= threshold <= 1:
        raise InvalidRequestError(f"threshold is a cosine, from -1 to 1, not {threshold}")
    if smallest is not None and method == "kmeans":
        raise InvalidRequestError(
            "smallest is for hdbscan and agglomerative: every item belongs to a cluster of kmeans"
        )
    if smallest is not None and smallest < 2:
        raise InvalidRequestError(f"smallest must be at least 2, not {smallest}")
