"""The native engine: C++ kernels for AMX and AVX-512 (docs/engine.md). Nothing is padded, and a text's vector has the
same bits whatever it is computed with.
"""

import atexit
import os
import threading
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from safetensors.numpy import load_file

from embedrouter.minilm.engines.base import Precision
from embedrouter.minilm.facts import DIMENSIONS
from embedrouter.minilm.weights import Weights
from embedrouter.minilm.windows import Ids, Vectors

PATHS: Final[dict[str, Precision]] = {
    "amx-bf16": "bfloat16",
    "avx512-bf16": "bfloat16",
    "avx512-fp32": "float32",
    "amx-int8": "int8",
    "vnni-int8": "int8",
}
"""Instruction paths, the fastest of each precision first."""


_NEEDS: Final[dict[Precision, str]] = {
    "float32": "AVX-512",
    "bfloat16": "AMX-BF16 or AVX512-BF16",
    "int8": "AVX512-BF16 and, with it, AMX-INT8 or AVX512-VNNI",
}


@cache
def available() -> tuple[str, ...]:
    """The paths that were built and that this CPU has."""
    try:
        from embedrouter.minilm.native import _native
    except ImportError:
        return ()
    return tuple(_native.available_paths())


def missing(precision: Precision) -> str:
    """Why no path of a precision can run here, for people."""
    try:
        from embedrouter.minilm.native import _native  # noqa: F401
    except ImportError as error:
        note = resources.files("embedrouter.minilm.native") / "not_built.txt"
        return note.read_text().strip().rstrip(".") if note.is_file() else f"the native module does not load ({error})"
    return f"the native engine needs {_NEEDS[precision]}, which this CPU lacks"


class _Ending:
    """Keeps Python from ending while a daemon thread computes: there it would abort the process.

    A thread that wants the GIL back from an interpreter that has ended is unwound, which C++ does not allow.
    """

    def __init__(self) -> None:
        self._start()
        atexit.register(self._wait)
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._ending = False

    def __enter__(self) -> None:
        with self._changed:
            if not self._ending:
                self._inside += 1
                return
        threading.Event().wait()  # for ever: the process is about to end

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def _wait(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.wait_for(lambda: self._inside == 0)


_ENDING: Final = _Ending()


class NativeEngine:
    """Sequences in, unit vectors out; up to `workers` threads compute, and share the blocks of all calls."""

    name = "native"
    pads = False

    def __init__(self, weights: Weights, path: str, threads: int, reason: str, *, unchecked: bool = False) -> None:
        """path: one of `available()`; unchecked: or one that an emulator runs."""
        from embedrouter.minilm.native import _native

        self.path = path
        self.precision: Precision = PATHS[path]
        self.workers = threads
        self.reason = reason
        self._engine = _native.Engine(load_file(weights.tensors), path, threads, unchecked)

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        """Unit vectors (n, 384) of n sequences of 1 to 512 ids each, in order."""
        vectors = np.empty((len(sequences), DIMENSIONS), np.float32)
        if not sequences:
            return vectors
        lengths = np.fromiter(map(len, sequences), np.int32, len(sequences))
        ids = np.concatenate(sequences)
        with _ENDING:
            self._engine.embed(ids, lengths, vectors)
        if not np.isfinite(vectors).all():
            raise FloatingPointError("the engine returned a vector that is not finite")
        return vectors

    def stages(self) -> dict[str, int]:
        """Ticks of the time stamp counter that all threads have spent in each stage, for those who measure."""
        return self._engine.stages()
