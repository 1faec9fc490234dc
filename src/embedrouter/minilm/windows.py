"""The long-input rules: from an input's tokens to the sequences that are computed, and back to one vector.

Pure functions over numpy arrays. To 256 tokens an input is one sequence, exactly as the reference implementation has
it. Above, the rule decides: `windows` cuts consecutive sequences of 254 content tokens whose vectors are averaged by
length, `truncate` keeps the first 254 content tokens, `refuse` raises.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import ContextLengthExceededError
from embedrouter.minilm.facts import CLS, MAX_INPUT, MAX_LENGTH, SEP, WINDOW

Ids = NDArray[np.int32]
Vectors = NDArray[np.float32]


class LongInput(StrEnum):
    """What happens to an input of more than 256 tokens."""

    WINDOWS = "windows"
    TRUNCATE = "truncate"
    REFUSE = "refuse"

    @classmethod
    def of(cls, truncate: bool | None) -> "LongInput":
        """The API's `truncate`: true cuts, false refuses, None is the default, windows."""
        if truncate is None:
            return cls.WINDOWS
        return cls.TRUNCATE if truncate else cls.REFUSE

    @property
    def truncate(self) -> bool | None:
        """What `of` made it from."""
        return None if self is LongInput.WINDOWS else self is LongInput.TRUNCATE


class Plan(NamedTuple):
    """What is computed for one input."""

    sequences: list[Ids]  # each with [CLS] and [SEP], at most 256 long
    tokens: int  # billed: content tokens really embedded + 2
    truncated: bool


def plan(content: Ids, rule: LongInput, index: int, *, exact: bool = True) -> Plan:
    """Cut one input's content tokens (no special tokens) into sequences.

    index: the input's place in the request, for the error. exact: False when `content` is only the beginning of the
    input, so that the count is a lower bound. Raises ContextLengthExceededError.
    """
    tokens = len(content) + 2
    if tokens <= MAX_LENGTH:
        return Plan([_framed(content)], tokens, truncated=False)
    if rule is LongInput.TRUNCATE:
        return Plan([_framed(content[:WINDOW])], MAX_LENGTH, truncated=True)
    limit = MAX_LENGTH if rule is LongInput.REFUSE else MAX_INPUT
    if tokens > limit:
        count = f"{tokens:,}" if exact else f"more than {tokens:,}"
        advice = 'send "truncate": true to cut it at 256 tokens' + (
            ', or leave "truncate" out to embed up to 8,192 tokens' if rule is LongInput.REFUSE else ", or split it"
        )
        raise ContextLengthExceededError(
            f"input[{index}] has {count} tokens, the limit is {limit:,}: {advice}",
            metadata={"index": index, "tokens": tokens, "tokens_exact": exact, "limit": limit},
        )
    return Plan([_framed(content[a : a + WINDOW]) for a in range(0, len(content), WINDOW)], tokens, truncated=False)


def combine(vectors: Vectors, lengths: NDArray[np.int64]) -> Vectors:
    """One unit vector from the unit vectors of an input's windows: their mean weighted by length, normalised.

    vectors: (w, 384) float32; lengths: (w,) tokens of each window with [CLS] and [SEP]. Summed in float64.
    """
    if len(vectors) == 1:
        only: Vectors = vectors[0]
        return only
    mean = lengths.astype(np.float64) @ vectors.astype(np.float64)
    unit: Vectors = (mean / np.linalg.norm(mean)).astype(np.float32)
    return unit


def shorten(vectors: Vectors, dimensions: int) -> Vectors:
    """Cut (n, 384) unit vectors to their first `dimensions` columns and normalise again: (n, dimensions)."""
    if dimensions == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions].astype(np.float64)
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    shortened: Vectors = (cut / np.maximum(norms, 1e-12)).astype(np.float32)
    return shortened


def _framed(content: Ids) -> Ids:
    sequence = np.empty(len(content) + 2, np.int32)
    sequence[0] = CLS
    sequence[1:-1] = content
    sequence[-1] = SEP
    return sequence
