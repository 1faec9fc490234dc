"""The wall between the model and what computes it."""

from collections.abc import Sequence
from typing import Literal, Protocol

from embedrouter.minilm.windows import Ids, Vectors

Precision = Literal["float32", "bfloat16", "int8"]


class Engine(Protocol):
    """Computes sequences. `embed` is called from several threads at once, at most `workers` of them."""

    name: str
    precision: Precision
    workers: int  # how many calls to `embed` run at once, each on its own core or cores
    pads: bool  # whether a batch costs its longest sequence times its size
    reason: str  # why this engine and precision run here, for people

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        """Unit vectors (n, 384) of n sequences of 1 to 256 ids each, in order."""
        ...
