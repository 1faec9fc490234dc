from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

def available_paths() -> list[str]:
    """The instruction paths this CPU can run, the fastest of each number format first."""

class Engine:
    """The model, packed for one instruction path."""

    def __init__(
        self, tensors: Mapping[str, NDArray[np.float32]], path: str, threads: int, unchecked: bool = False
    ) -> None:
        """tensors: those of model.safetensors, by name. unchecked: take a path this CPU lacks, for an emulator.

        Raises ValueError for a path that there is not, and for tensors of other shapes.
        """

    def embed(self, ids: NDArray[np.int32], lengths: NDArray[np.int32], vectors: NDArray[np.float32]) -> None:
        """Write unit vectors (n, 384) of n sequences, whose ids follow one another, of 1 to 512 ids each.

        Thread-safe; releases the GIL. Raises ValueError for ids or lengths out of range.
        """

    def stages(self) -> dict[str, int]:
        """Ticks of the CPU's time stamp counter that all threads have spent so far in each stage of the model."""
