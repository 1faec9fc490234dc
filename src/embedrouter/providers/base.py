"""What the gateway asks of a provider and what it gets."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from embedrouter.minilm.windows import LongInput


class EmbedCall(NamedTuple):
    """One request to one endpoint."""

    inputs: Sequence[str] | Sequence[Sequence[int]]  # texts, or ids of the model's own vocabulary
    rule: LongInput


class EmbedAnswer(NamedTuple):
    """A provider's vectors and what they cost in tokens."""

    vectors: NDArray[np.float32]  # (n, dimensions) in input order
    prompt_tokens: int
    truncated: int  # inputs that were cut
    windows: int  # sequences beyond the first of each input
    fingerprint: str
    tokenize_seconds: float


class Provider(Protocol):
    """Serves the endpoints of one provider."""

    async def embed(self, call: EmbedCall) -> EmbedAnswer:
        """Raises EmbedRouterError. Cancelling the call gives the work up."""
        ...
