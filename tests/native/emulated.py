"""Runs the engine's AMX paths by emulation. Arguments: the emulator's library, the weights' folder, the path, the input
and the output file.

A process of its own, since the emulator takes all of a process's SIGILL. The input (npz) has the ids of all sequences,
their lengths, and which of them to compute `apart`. The output has vectors: `together`, of all in one call; `shared`,
of all but the last in one call, by two threads; `alone`, of those apart, a call each; and `instructions`, how many were
emulated.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from native_module import substitute

substitute()

from embedrouter.minilm.engines.native import NativeEngine  # noqa: E402
from embedrouter.minilm.weights import Weights  # noqa: E402


def main(library: str, folder: str, path: str, given: str, written: str) -> None:
    emulator = ctypes.CDLL(library)
    emulator.amx_emulator_count.restype = ctypes.c_ulong
    assert emulator.amx_emulator_install() == 0
    with np.load(given) as arrays:
        sequences = np.split(arrays["ids"], np.cumsum(arrays["lengths"])[:-1])
        apart = arrays["apart"].tolist()
    weights = Weights(Path(folder))
    one, two = (NativeEngine(weights, path, threads, "a test", unchecked=True) for threads in (1, 2))
    together, shared = one.embed(sequences), two.embed(sequences[:-1])
    alone = np.concatenate([one.embed([sequences[i]]) for i in apart])
    count = emulator.amx_emulator_count()
    np.savez(written, together=together, shared=shared, alone=alone, instructions=count)


main(*sys.argv[1:])
