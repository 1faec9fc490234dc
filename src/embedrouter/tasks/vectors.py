"""Texts or vectors: what the tasks take, brought to unit vectors."""

import threading
from collections.abc import Sequence
from functools import cache
from typing import Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError

Vectors: TypeAlias = NDArray[np.float32]
"""(n, dimensions), each of length 1."""

Items: TypeAlias = Sequence[str] | NDArray[np.floating]
"""Texts, or their vectors (n, dimensions), of whatever length and float type."""

_LOADING = threading.Lock()


class Encoder(Protocol):
    """A model, as far as the tasks know it."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> Vectors:
        """Vectors of shape (len(inputs), dimensions). Raises EmbedRouterError for an input it does not take."""


def default_encoder() -> Encoder:
    """The built-in model, loaded when it is first asked for, and one for the process."""
    with _LOADING:
        return _builtin()


def unit_vectors(items: Items, encoder: Encoder | None = None) -> Vectors:
    """Vectors of length 1, (n, dimensions) float32. encoder: for texts; None: the built-in model.

    Raises InvalidRequestError naming the first item that is no text, or whose vector is zero or not finite.
    """
    if isinstance(items, np.ndarray):
        return _normalised(items)
    if isinstance(items, str):
        raise InvalidRequestError("one text was given where a list of texts is expected; put it into a list")
    given: Sequence[object] = items
    for index, text in enumerate(given):
        if not isinstance(text, str) or not text.strip():
            raise InvalidRequestError(f"item {index} is {'empty' if isinstance(text, str) else 'not a text'}")
    used = default_encoder() if encoder is None else encoder
    return _normalised(used.encode(items)) if items else np.empty((0, used.dimensions), np.float32)


def _normalised(given: NDArray[np.floating]) -> Vectors:
    if given.ndim != 2:
        raise InvalidRequestError(f"vectors have the shape (n, dimensions), and these {given.shape}")
    vectors = np.asarray(given, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))  # norm would square a copy
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if wrong.size:
        raise InvalidRequestError(f"vector {wrong[0]} is zero or not finite, so it has no direction")
    if np.allclose(lengths, 1.0, atol=1e-6):
        return vectors
    return cast("Vectors", vectors / lengths[:, None])


@cache
def _builtin() -> Encoder:
    from embedrouter.minilm import MiniLM

    return MiniLM(report=lambda _: None)
