"""k-means over unit vectors: groups around directions, by cosine, in blocks and the same for the same seed.

Starts are tried on a sample, the best of them is carried on over everything: the memory beyond the vectors is that
of the sample and one block. Sums are made in one order whatever the number of threads.
"""

from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.tasks.vectors import Vectors

Labels = NDArray[np.int64]
"""(n,): the group of each item."""

_SAMPLE: Final = 10_000  # vectors that the starts are tried on
_STARTS: Final = 8
_ROUNDS: Final = 60
_STILL: Final = 1e-4  # of the items change their group in a round: it has come to rest
_BLOCK: Final = 8192  # vectors compared with the centres at once

_JUDGED: Final = 2000  # vectors that a number of groups is judged by
_JUDGED_ROUNDS: Final = 20
_NEARLY: Final = 0.03  # of a silhouette: fewer groups are as good
_MOST_CHOSEN: Final = 100  # groups that are chosen by themselves


class Grouping(NamedTuple):
    """Items around centres."""

    labels: Labels  # of k values
    centres: Vectors  # (k, dimensions)
    closeness: float  # mean cosine of an item with its centre


def kmeans(vectors: Vectors, k: int, seed: int) -> Grouping:
    """Into k groups, or fewer where fewer than k vectors differ. 1 <= k <= len(vectors)."""
    random = np.random.default_rng(seed)
    sample = _sampled(vectors, max(_SAMPLE, 20 * k), random)
    with _one_thread():
        tried = [_settle(sample, _start(sample, k, random)) for _ in range(_STARTS)]
    best = max(tried, key=lambda grouping: grouping.closeness)
    return best if len(sample) == len(vectors) else _settle(vectors, best.centres)


def choose_k(vectors: Vectors, seed: int) -> int:
    """How many groups the vectors fall into, by the silhouettes of a sample.

    Tried are 2, 3, 4 and on in steps of a fifth, up to 100 or a quarter of the sample; where their silhouettes are
    the highest, each with its two neighbours, the neighbourhood is searched. Without the neighbours, texts of all
    kinds would often fall into two halves. Some 25 times k-means over 2,000 vectors, however many there are.
    1 for vectors that are all the same.
    """
    random = np.random.default_rng(seed)
    sample = _sampled(vectors, _JUDGED, random)
    most = min(_MOST_CHOSEN, len(sample) // 4 if len(sample) > 12 else len(sample) - 1)
    if most < 2 or bool((sample @ sample[0] > 1 - 1e-5).all()):
        return 1
    with _one_thread():
        starts = _start(sample, most, random)  # the first k of them are a start for k
        scores = {k: _judged(sample, starts[:k]) for k in _steps(most)}
        best = _best_neighbourhood(scores)
        width = max(1, best // 12)
        for k in (best - 2 * width, best - width, best + width, best + 2 * width):
            if 2 <= k <= most and k not in scores:
                scores[k] = _judged(sample, starts[:k])
    near = [k for k in sorted(scores) if abs(k - best) <= 2 * width]
    return max(near, key=lambda k: scores[k])


def silhouette(vectors: Vectors, labels: Labels) -> float:
    """Mean silhouette by cosine distance, in [-1, 1]; -1 for a single group.

    The mean cosine of a unit vector with those of a group is its dot product with their mean: no pair is looked at.
    """
    counts = np.bincount(labels).astype(np.float32)
    if len(counts) < 2:
        return -1.0
    rows = np.arange(len(vectors))
    totals = vectors @ _sums(vectors, labels, len(counts)).T
    own_count = counts[labels]
    inside = 1 - (totals[rows, labels] - 1) / np.maximum(own_count - 1, 1)
    distances = 1 - totals / counts
    distances[rows, labels] = np.inf
    outside = distances.min(axis=1)
    scores = (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-9)
    return float(np.where(own_count > 1, scores, 0.0).mean())


def nearest(vectors: Vectors, centres: Vectors) -> tuple[Labels, NDArray[np.float32]]:
    """For each vector the centre with the highest cosine (the first of several), and that cosine."""
    labels = np.empty(len(vectors), np.int64)
    cosines = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        scores = vectors[start : start + _BLOCK] @ centres.T
        found = scores.argmax(axis=1)
        labels[start : start + _BLOCK] = found
        cosines[start : start + _BLOCK] = scores[np.arange(len(found)), found]
    return labels, cosines


def _judged(sample: Vectors, start: Vectors) -> float:
    return silhouette(sample, _settle(sample, start, _JUDGED_ROUNDS).labels)


def _best_neighbourhood(scores: dict[int, float]) -> int:
    """The smallest k whose score, with those of the next smaller and larger one, is about the highest."""
    tried = sorted(scores)
    firsts = [min(max(0, at - 1), max(0, len(tried) - 3)) for at in range(len(tried))]
    means = [float(np.mean([scores[k] for k in tried[first : first + 3]])) for first in firsts]
    enough = max(means) - _NEARLY * abs(max(means))
    return next(k for k, mean in zip(tried, means, strict=True) if mean >= enough)


def _one_thread() -> AbstractContextManager[object]:
    """Over a sample, threads gain little; on a busy machine they wait for each other in a loop."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _steps(most: int) -> list[int]:
    steps, k = [], 2
    while k <= most:
        steps.append(k)
        k = max(k + 1, k * 6 // 5)
    return steps


def _sampled(vectors: Vectors, most: int, random: np.random.Generator) -> Vectors:
    if len(vectors) <= most:
        return vectors
    return vectors[np.sort(random.choice(len(vectors), most, replace=False))]


def _start(vectors: Vectors, k: int, random: np.random.Generator) -> Vectors:
    """Centres far from each other: k-means++, each the best of a few drawn by their distance from those there."""
    tries = 2 + int(np.log(k))
    chosen = [int(random.integers(len(vectors)))]
    distances = np.maximum(1 - vectors @ vectors[chosen[0]], 0)
    while len(chosen) < k and (total := float(distances.sum(dtype=np.float64))) > 1e-6 * len(vectors):
        drawn = np.searchsorted(np.cumsum(distances, dtype=np.float64), random.random(tries) * total)
        drawn = np.minimum(drawn, len(vectors) - 1)
        after = np.minimum(distances[:, None], np.maximum(1 - vectors @ vectors[drawn].T, 0))
        best = int(after.sum(axis=0, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        distances = after[:, best]
    return vectors[chosen]


def _settle(vectors: Vectors, centres: Vectors, rounds: int = _ROUNDS) -> Grouping:
    """Lloyd's rounds until hardly an item changes its group; a group that lost all its items goes."""
    before = np.full(len(vectors), -1, np.int64)
    for _ in range(rounds):
        labels, cosines = nearest(vectors, centres)
        kept, labels = np.unique(labels, return_inverse=True)
        if len(kept) == len(centres) and np.count_nonzero(labels != before) <= _STILL * len(vectors):
            break
        before = labels if len(kept) == len(centres) else np.full_like(labels, -1)
        sums = _sums(vectors, labels, len(kept))
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return Grouping(labels, centres[: len(kept)], float(cosines.mean(dtype=np.float64)))


def _sums(vectors: Vectors, labels: Labels, groups: int) -> Vectors:
    """(groups, dimensions): the sum of each group's vectors, in the order of the items."""
    from scipy.sparse import csr_array

    ones = np.ones(len(labels), np.float32)
    members = csr_array((ones, (labels, np.arange(len(labels)))), shape=(groups, len(labels)))
    sums: Vectors = members @ vectors
    return sums
