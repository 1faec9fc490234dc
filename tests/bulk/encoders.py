"""Encoders that need no weights: the same text always gives the same unit vector."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import ContextLengthExceededError

DIMENSIONS = 384


def vector_of(text: str) -> NDArray[np.float32]:
    """A unit vector that depends on all of the text, shape (384,)."""
    raw = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSIONS, dtype=np.float32)
    unit: NDArray[np.float32] = raw / np.linalg.norm(raw)
    return unit


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """Shape (len(texts), 384)."""
    return np.stack([vector_of(text) for text in texts]) if texts else np.zeros((0, DIMENSIONS), np.float32)


class HashEncoder:
    """Counts the texts it was given, and what it was told of truncation."""

    dimensions = DIMENSIONS

    def __init__(self) -> None:
        self.texts = 0
        self.truncates: list[bool | None] = []

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> NDArray[np.float32]:
        self.texts += len(inputs)
        self.truncates.append(truncate)
        return vectors_of(inputs)


class FailingEncoder(HashEncoder):
    """Raises `error` once it has seen more than `after` texts."""

    def __init__(self, after: int, error: BaseException) -> None:
        super().__init__()
        self._after = after
        self._error = error

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> NDArray[np.float32]:
        vectors = super().encode(inputs, truncate=truncate)
        if self.texts > self._after:
            raise self._error
        return vectors


class PickyEncoder(HashEncoder):
    """Refuses texts that contain "long", as a model refuses what is over its window."""

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> NDArray[np.float32]:
        for index, text in enumerate(inputs):
            if "long" in text:
                message = f'input[{index}] has too many tokens: send "truncate": true to cut it'
                raise ContextLengthExceededError(message, metadata={"index": index, "tokens": 999})
        return super().encode(inputs, truncate=truncate)
