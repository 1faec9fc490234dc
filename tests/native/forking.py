"""Forks after an engine was loaded, idle and busy, and again in the child. Arguments: the weights' folder, the path.

A process of its own, since a child of pytest would carry all that pytest holds.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from native_module import substitute, substituted

substitute()

from embedrouter.minilm.engines.native import NativeEngine  # noqa: E402
from embedrouter.minilm.weights import Weights  # noqa: E402


def main(folder: str, path: str) -> None:
    engine = NativeEngine(Weights(Path(folder)), path, 3, "a test")
    sequences = [np.arange(1, 1 + length, dtype=np.int32) for length in (1, 30, 200, 5)]
    expected = engine.embed(sequences)

    def check() -> bool:
        found: list[bool] = []

        def caller() -> None:
            found.extend(np.array_equal(engine.embed(sequences), expected) for _ in range(2))

        threads = [threading.Thread(target=caller) for _ in range(3)]
        for thread in threads:
            thread.start()
        caller()
        for thread in threads:
            thread.join()
        return found == [True] * 8

    def in_child(body: Callable[[], bool]) -> None:
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(100)  # a child that hangs does not stay
                os._exit(0 if body() else 3)
            finally:
                os._exit(4)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status

    in_child(check)
    print("idle", flush=True)

    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            engine.embed(sequences)

    busy = [threading.Thread(target=load) for _ in range(2)]
    for thread in busy:
        thread.start()
    # GCC 12's address sanitizer forks with its allocator locked by whoever allocates; the child then waits forever.
    for _ in range(0 if substituted() else 5):
        in_child(check)
    stop.set()
    for thread in busy:
        thread.join()
    print("busy", flush=True)

    def child_and_grandchild() -> bool:
        mine = check()  # the child has threads of its own by now
        in_child(check)
        return mine and check()

    # A thread that has just ended may hold that lock, too, and check() ends three.
    if not substituted():
        in_child(child_and_grandchild)
    print("grandchild", flush=True)
    assert check()
    print("parent", flush=True)


main(*sys.argv[1:])
