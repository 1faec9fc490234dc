"""Ends while daemon threads are inside the engine. Arguments: the weights' folder, the path."""

import sys
import threading
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from native_module import substitute

substitute()

from embedrouter.minilm.engines.native import NativeEngine  # noqa: E402
from embedrouter.minilm.weights import Weights  # noqa: E402


def main(folder: str, path: str) -> None:
    engine = NativeEngine(Weights(Path(folder)), path, 2, "a test")
    inside = threading.Semaphore(0)

    def compute() -> None:
        while True:
            inside.release()
            engine.embed([np.arange(1, 400, dtype=np.int32)] * 2)

    for _ in range(2):
        threading.Thread(target=compute, daemon=True).start()
    for _ in range(4):
        inside.acquire()
    print("ending", flush=True)


main(*sys.argv[1:])
