"""An engine without a model: deterministic, observable, and as badly behaved as a test wants it."""

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from embedrouter.minilm.batcher import Batcher, Watcher
from embedrouter.minilm.engines.base import Precision
from embedrouter.minilm.facts import DIMENSIONS
from embedrouter.minilm.windows import Ids, Vectors

PATIENCE = 30.0  # seconds after which a test that waits has failed


def sequence(length: int, tag: int = 0) -> Ids:
    """A sequence of `length` ids; another tag, another sequence."""
    ids = np.full(length, length, np.int32)
    ids[0] = tag
    return ids


def vector_of(ids: Ids) -> Vectors:
    """What the fake engine answers for one sequence, shape (384,)."""
    return np.full(DIMENSIONS, zlib.crc32(ids.tobytes()) % (1 << 24), np.float32)


def vectors_of(sequences: Sequence[Ids]) -> Vectors:
    if not sequences:
        return np.empty((0, DIMENSIONS), np.float32)
    return np.stack([vector_of(ids) for ids in sequences])


class FakeEngine:
    """Records every batch. `gate` closed, batches wait inside `embed`. `hook` runs in each, and may raise."""

    name = "fake"
    precision: Precision = "float32"
    reason = "a test asked for it"

    def __init__(
        self, workers: int = 1, *, pads: bool = True, hook: Callable[[Sequence[Ids]], None] | None = None
    ) -> None:
        self.workers = workers
        self.pads = pads
        self.hook = hook
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[Ids]] = []
        self._entered = threading.Semaphore(0)

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        self.batches.append(list(sequences))
        self._entered.release()
        if not self.gate.wait(PATIENCE):
            raise TimeoutError("the test never opened the gate")
        if self.hook is not None:
            self.hook(sequences)
        return vectors_of(sequences)

    def wait_entered(self) -> None:
        """Until one more batch has begun."""
        assert self._entered.acquire(timeout=PATIENCE), "no worker took a batch"

    def served(self) -> list[bytes]:
        """Every computed sequence, in order."""
        return [ids.tobytes() for batch in list(self.batches) for ids in batch]

    def batch_of(self, ids: Ids) -> int:
        """The number of the first batch that held a sequence."""
        key = ids.tobytes()
        return next(i for i, batch in enumerate(self.batches) if any(one.tobytes() == key for one in batch))


@contextmanager
def running(
    engine: FakeEngine,
    *,
    token_budget: int = 512,
    max_queued_tokens: int = 2_000_000,
    max_wait: float = 1e9,
    watcher: Watcher | None = None,
) -> Iterator[Batcher]:
    """A batcher that is always stopped."""
    batcher = Batcher(
        engine, token_budget=token_budget, max_queued_tokens=max_queued_tokens, max_wait=max_wait, watcher=watcher
    )
    try:
        yield batcher
    finally:
        engine.gate.set()
        batcher.close(timeout=PATIENCE)


def occupy(engine: FakeEngine, batcher: Batcher) -> None:
    """Close the gate and give every worker a batch that waits behind it: what is submitted next stays queued."""
    engine.gate.clear()
    for worker in range(engine.workers):
        batcher.submit([sequence(2, tag=-1 - worker)])
        engine.wait_entered()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it is true, at most as long as a test has patience."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)
