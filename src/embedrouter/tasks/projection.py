"""Vectors as points on a plane, to look at."""

from typing import Final, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.vectors import Encoder, Items, Vectors, unit_vectors

Projection: TypeAlias = Literal["auto", "tsne", "pca"]
Points: TypeAlias = NDArray[np.float64]
"""(n, 2), each axis from 0 to 1; the larger extent fills it."""

TSNE_TO: Final = 5_000  # items, up to which "auto" takes the time that t-SNE needs
TSNE_MOST: Final = 20_000
_COMPONENTS: Final = 50  # that t-SNE sees: the rest is noise, and costs time
_FEWEST: Final = 8


def project(items: Items, *, method: Projection = "auto", seed: int = 0, encoder: Encoder | None = None) -> Points:
    """A point for each item; near ones mean near things. The same for the same seed.

    tsne: keeps neighbours together, of at most 20,000 items; distances between groups say little. pca: the two
    directions in which the items differ most, of any number. auto: t-SNE up to 5,000. Raises InvalidRequestError.
    """
    if method not in {"auto", "tsne", "pca"}:
        raise InvalidRequestError(f"method is one of auto, tsne, pca, not {cast('str', method)!r}")
    vectors = unit_vectors(items, encoder)
    if method == "tsne" and len(vectors) > TSNE_MOST:
        raise InvalidRequestError(f"t-SNE takes at most {TSNE_MOST:,} items, and these are {len(vectors):,}: take pca")
    if len(vectors) >= _FEWEST and (method == "tsne" or (method == "auto" and len(vectors) <= TSNE_TO)):
        return _fitted(_tsne(vectors, seed))
    return _fitted(principal(vectors, 2))


def principal(vectors: Vectors, count: int) -> Points:
    """The first `count` principal components (n, count), signs fixed; zeros where there are fewer."""
    centred = vectors - vectors.mean(axis=0, dtype=np.float64) if len(vectors) else vectors.astype(np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    best = axes[:, ::-1][:, :count]
    best = best * np.where(best[np.abs(best).argmax(axis=0), np.arange(best.shape[1])] < 0, -1.0, 1.0)
    points = np.zeros((len(vectors), count))
    points[:, : best.shape[1]] = centred @ best
    return points


def _tsne(vectors: Vectors, seed: int) -> Points:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    near = min(30.0, (len(vectors) - 1) / 3)
    start = principal(vectors, _COMPONENTS)
    fitting = TSNE(perplexity=near, init="pca", random_state=seed)
    # Two threads on a busy machine wait for each other in a loop: measured, six times the time of one.
    with threadpool_limits(1):
        points: Points = fitting.fit_transform(start.astype(np.float32))
    return points


def _fitted(points: Points) -> Points:
    """Moved and scaled, the same along both axes, into 0 to 1."""
    if not len(points):
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    fitted: Points = (points - (low + high) / 2) / extent + 0.5
    return fitted
