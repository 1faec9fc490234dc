"""What the gateway asks of a provider and what it gets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from embedrouter.minilm.windows import LongInput

Piece = Callable[[], int]
"""Characters, about, that may be computed together now: few, where somebody else waits."""


class EmbedCall(NamedTuple):
    """One request to one endpoint."""

    inputs: Sequence[str] | Sequence[Sequence[int]]  # texts, or ids of the model's own vocabulary
    rule: LongInput
    piece: Piece | None = None  # None: all at once


class EmbedAnswer(NamedTuple):
    """A provider's vectors and what they cost in tokens."""

    vectors: NDArray[np.float32]  # (n, dimensions) in input order
    prompt_tokens: int
    truncated: int  # inputs that were cut
    windows: int  # sequences beyond the first of each input
    fingerprint: str
    tokenize_seconds: float


class Counted(Protocol):
    """A call whose tokens are known."""

    @property
    def tokens(self) -> int:
        """What it will be billed, exactly."""
        ...


class Provider(Protocol):
    """Serves the endpoints of one provider."""

    computes_for_free: bool  # what it computes in vain costs nobody money: need not be held before

    async def count(self, call: EmbedCall) -> Counted:
        """What the call will be billed, before anything is computed; then `embed` it. Raises EmbedRouterError."""
        ...

    async def embed_counted(self, counted: Counted, rule: LongInput) -> EmbedAnswer:
        """Embed what this provider counted. Raises EmbedRouterError. Cancelling the call gives the work up."""
        ...

    async def embed(self, call: EmbedCall) -> EmbedAnswer:
        """Raises EmbedRouterError. Cancelling the call gives the work up."""
        ...
