"""Asks for an engine of more threads than the system grants. Arguments: the weights' folder, the path.

Address space runs out: each thread takes 4 GiB of it for its stack, and there is room for one and a half.
"""

import os
import resource
import sys
from pathlib import Path

import numpy as np

_STACK = 4 << 30

if resource.getrlimit(resource.RLIMIT_STACK)[0] != _STACK:  # read by the C library when a process starts
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    os.execv(sys.executable, [sys.executable, *sys.argv])

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from embedrouter.minilm.engines.native import NativeEngine  # noqa: E402
from embedrouter.minilm.weights import Weights  # noqa: E402


def main(folder: str, path: str) -> None:
    weights = Weights(Path(folder))
    one = NativeEngine(weights, path, 1, "a test")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _STACK * 3 // 2, resource.RLIM_INFINITY))
    try:
        NativeEngine(weights, path, 4, "a test")
    except RuntimeError:  # std::system_error
        print("refused", flush=True)
    assert one.embed([np.array([101, 102], np.int32)]).shape == (1, 384)
    print("alive", flush=True)


main(*sys.argv[1:])
