"""Texts of one batch to vectors, and which of them the encoder refuses."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import ContextLengthExceededError, EmbedRouterError, InvalidRequestError
from embedrouter.minilm.windows import LongInput


class Model(Protocol):
    """What is known of a model where the work is planned; it may also have a `fingerprint`."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""


class Encoder(Model, Protocol):
    """The model, as far as this room knows it. It may be called from several threads at once."""

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> NDArray[np.float32]:
        """Vectors of shape (len(inputs), dimensions). Raises EmbedRouterError for an input it does not take."""


def fingerprint(encoder: Model, truncate: bool | None) -> str:
    """Names what decides a vector: encoders that tell the same give the same vectors."""
    own = getattr(encoder, "fingerprint", None)
    return str(own(LongInput.of(truncate))) if own is not None else type(encoder).__name__


def encode(
    encoder: Encoder, texts: Sequence[str], numbers: Sequence[int], truncate: bool | None, where: str
) -> NDArray[np.float32]:
    """Vectors (rows, dimensions) of texts, whose lines or rows are `numbers`. where: the file, for messages.

    Raises what the encoder does, naming the row it was about.
    """
    if not texts:
        return np.empty((0, encoder.dimensions), np.float32)
    try:
        vectors = encoder.encode(texts, truncate=truncate)
    except (InvalidRequestError, ContextLengthExceededError) as error:
        index, refusal = _culprit(encoder, texts, truncate, error)
        raise type(error)(f"{where} {numbers[index]} {for_rows(refusal)}", metadata=refusal.metadata) from error
    if vectors.shape != (len(texts), encoder.dimensions) or not np.isfinite(vectors).all():
        raise EmbedRouterError(f"the model gave vectors that cannot be right, of shape {vectors.shape}")
    return vectors.astype(np.float32, copy=False)


def encode_once(
    encoder: Encoder, texts: Sequence[str], numbers: Sequence[int], truncate: bool | None, where: str
) -> NDArray[np.float32]:
    """As `encode`, with identical texts computed once."""
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    if len(places) == len(texts):
        return encode(encoder, texts, numbers, truncate, where)
    firsts = dict(zip(reversed(rows), reversed(numbers), strict=True))
    vectors = encode(encoder, list(places), [firsts[row] for row in range(len(places))], truncate, where)
    return np.asarray(vectors[rows])


def for_rows(error: EmbedRouterError) -> str:
    """What an encoder says of one of its inputs, for who knows rows and options and no requests."""
    message = error.message.removeprefix(f"input[{error.metadata.get('index')}] ")
    return message.replace('send "truncate": true', "take --truncate").replace(
        'leave "truncate" out', "leave --no-truncate out"
    )


def _culprit(
    encoder: Encoder, texts: Sequence[str], truncate: bool | None, first: EmbedRouterError
) -> tuple[int, EmbedRouterError]:
    """The first text that the encoder refuses, and what it says of that alone. It knows batches, the user knows lines.

    By halves: as much work as one more batch.
    """
    low, high, refusal = 0, len(texts), first
    while low < high:
        middle = (low + high) // 2 if high - low > 1 else high
        try:
            encoder.encode(texts[low:middle], truncate=truncate)
            low = middle
        except (InvalidRequestError, ContextLengthExceededError) as error:
            refusal = error
            if middle - low == 1:
                break
            high = middle
    return min(low, len(texts) - 1), refusal
