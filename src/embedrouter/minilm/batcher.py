"""The micro-batcher: many callers' sequences, computed in good batches by a few worker threads, without timers.

A free worker takes what waits; nothing ever waits for company. What it takes is decided in three steps:

1. The seed is the sequence whose caller has been served least (start-time fair queueing: a caller's sequences carry a
   virtual start that grows with the tokens before them, so a single text overtakes the tail of a 2,048-item request).
   Each fourth batch starts from the oldest sequence instead, so that no stream of small callers starves a large one.
2. The batch is filled with sequences near the seed's length, up to a token budget, so that padding stays small.
3. When little waits, the budget shrinks, so that all workers share it.

Identical sequences in flight are computed once. A cancelled caller's sequences are dropped when they are met. A batch
that fails, fails the callers that had a sequence in it and nobody else. A worker that dies is replaced.
"""

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Final, NamedTuple

import numpy as np

from embedrouter.errors import OverloadedError, ProviderUnavailableError
from embedrouter.minilm.engines.base import Engine
from embedrouter.minilm.facts import DIMENSIONS, MAX_LENGTH
from embedrouter.minilm.windows import Ids, Vectors

log = logging.getLogger(__name__)

_BUCKET: Final = 2  # lengths are grouped by this many tokens
_OLDEST_EACH: Final = 4  # each fourth batch is seeded by age
_MAX_PADDING: Final = 1.15  # a padding engine's batch may cost this much more than its tokens ...
_FREE_PADDING: Final = 16  # ... and this many tokens more, about what starting another batch costs
_SMALL: Final = 32  # tokens; a batch below this is not divided among idle workers


class BatchStats(NamedTuple):
    """One computed batch, for whoever watches."""

    sequences: int
    tokens: int
    queued_seconds: float  # of its oldest sequence
    compute_seconds: float
    failed: bool


Watcher = Callable[[BatchStats], None]


class _Call:
    """One caller's sequences and the array their vectors go to."""

    __slots__ = ("future", "missing", "vectors")

    def __init__(self, size: int) -> None:
        self.future: Future[Vectors] = Future()
        self.vectors = np.empty((size, DIMENSIONS), np.float32)
        self.missing = size


class _Item:
    """One distinct sequence that waits or is being computed, and everyone who wants it."""

    __slots__ = ("bucket", "enqueued", "ids", "key", "number", "taken", "virtual_start", "wanted_by")

    def __init__(self, ids: Ids, key: bytes, number: int, virtual_start: float, enqueued: float) -> None:
        self.ids = ids
        self.key = key
        self.number = number
        self.virtual_start = virtual_start
        self.enqueued = enqueued
        self.bucket = (len(ids) - 1) // _BUCKET
        self.taken = False
        self.wanted_by: list[tuple[_Call, int]] = []

    def __lt__(self, other: "_Item") -> bool:
        return (self.virtual_start, self.number) < (other.virtual_start, other.number)


class Batcher:
    """Owns the worker threads. Thread-safe. Close it to stop them."""

    def __init__(
        self,
        engine: Engine,
        *,
        token_budget: int = 512,
        max_queued_tokens: int = 2_000_000,
        max_wait: float = 10.0,
        watcher: Watcher | None = None,
    ) -> None:
        """token_budget: padded tokens of one batch, at least 256.

        What comes is refused when more than max_queued_tokens would wait, or what waits already takes longer than
        max_wait seconds at the rate measured lately.
        """
        if token_budget < MAX_LENGTH:
            raise ValueError(f"token_budget must be at least {MAX_LENGTH}, the longest sequence")
        self._engine = engine
        self._budget = token_budget
        self._max_queued = max_queued_tokens
        self._max_wait = max_wait
        self.watcher = watcher
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._in_flight: dict[bytes, _Item] = {}
        self._buckets: list[list[_Item]] = [[] for _ in range(-(-MAX_LENGTH // _BUCKET))]
        self._by_age: deque[_Item] = deque()
        self._numbers = itertools.count()
        self._turn = 0
        self._virtual_now = 0.0
        self._idle = 0
        self._closing = False
        self._rate = 10_000.0  # tokens a second, a moving average; for Retry-After
        self._threads: set[threading.Thread] = set()
        self.queued_tokens = 0
        self.restarts = 0
        self.last_success = -float("inf")  # time.monotonic() of the last batch that worked
        with self._lock:
            for _ in range(engine.workers):
                self._start_worker()

    @property
    def live_workers(self) -> int:
        """Worker threads that run now."""
        return sum(thread.is_alive() for thread in list(self._threads))

    def submit(self, sequences: Sequence[Ids]) -> "Future[Vectors]":
        """Queue one caller's sequences; the future gives their vectors (n, 384) in order.

        Cancelling the future drops what has not been computed. Raises OverloadedError when the queue is full; a call
        of any size is taken when nothing waits. Raises ValueError for a sequence of no or more than 256 ids.
        """
        if any(not 1 <= len(ids) <= MAX_LENGTH for ids in sequences):
            raise ValueError(f"a sequence has 1 to {MAX_LENGTH} ids")
        call = _Call(len(sequences))
        if not sequences:
            call.future.set_result(call.vectors)
            return call.future
        tokens = sum(map(len, sequences))
        # Ascending lengths: neighbours in virtual time are then neighbours in length.
        order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
        keys = [ids.tobytes() for ids in sequences]
        now = time.monotonic()
        with self._lock:
            self._admit(tokens)
            virtual_start = self._virtual_now
            moved: set[int] = set()
            for place in order:
                ids, key = sequences[place], keys[place]
                item = self._in_flight.get(key)
                if item is None:
                    item = _Item(ids, key, next(self._numbers), virtual_start, now)
                    self._in_flight[key] = item
                    heapq.heappush(self._buckets[item.bucket], item)
                    self._by_age.append(item)
                    self.queued_tokens += len(ids)
                    virtual_start += len(ids)
                elif not item.taken and virtual_start < item.virtual_start:
                    # The same text from a caller with more right to be served: it moves up for both.
                    item.virtual_start = virtual_start
                    virtual_start += len(ids)
                    moved.add(item.bucket)
                item.wanted_by.append((call, place))
            for bucket in moved:
                heapq.heapify(self._buckets[bucket])
            self._work.notify(min(self._idle, 1 + tokens // _SMALL))
        return call.future

    def check_room(self, tokens: int, ahead: int = 0) -> None:
        """Raise OverloadedError if about `tokens` more would not be taken behind `ahead` that are on their way."""
        with self._lock:
            self._admit(tokens, ahead)

    def _admit(self, tokens: int, ahead: int = 0) -> None:
        if self._closing:
            raise OverloadedError("the server is shutting down", retry_after=5)
        queued = self.queued_tokens + ahead
        seconds = queued / self._rate
        if queued and (queued + tokens > self._max_queued or seconds > self._max_wait):
            wait = max(1, round(seconds - self._max_wait))
            raise OverloadedError(
                f"the queue is full ({queued:,} tokens wait); try again in {wait} s", retry_after=wait
            )

    def close(self, timeout: float | None = None) -> None:
        """Refuse new calls, compute what was taken, stop the workers. timeout: seconds to wait for all of it."""
        with self._lock:
            self._closing = True
            self._work.notify_all()
        deadline = None if timeout is None else time.monotonic() + timeout
        while (left := None if deadline is None else deadline - time.monotonic()) is None or left > 0:
            thread = next(iter(list(self._threads)), None)  # looked up anew: one that dies now is replaced by another
            if thread is None:
                break
            thread.join(left)

    # --- the workers

    def _start_worker(self) -> None:
        thread = threading.Thread(target=self._worker, name="embedrouter-worker", daemon=True)
        thread.start()
        self._threads.add(thread)  # before the thread can leave: that takes the lock, which the caller holds

    def _worker(self) -> None:
        try:
            while self._serve():
                pass
        except BaseException:
            log.exception("a model worker died and is replaced")
            with self._lock:
                self.restarts += 1
                self._start_worker()  # also when closing: what was taken is still to be answered
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _serve(self) -> bool:
        # In a function of its own, so that a worker that waits holds on to no answer.
        batch = self._next_batch()
        if batch is None:
            return False
        self._compute(batch)
        return True

    def _next_batch(self) -> list[_Item] | None:
        """Wait for work and take a batch; None when closing and nothing is left."""
        with self._work:
            while True:
                if batch := self._take():
                    if self.queued_tokens and self._idle:
                        self._work.notify()
                    return batch
                if self._closing:
                    return None
                self._idle += 1
                try:
                    self._work.wait()
                finally:
                    self._idle -= 1

    def _take(self) -> list[_Item]:
        seed = self._seed()
        if seed is None:
            return []
        budget = self._budget
        if self._idle:
            budget = max(_SMALL, len(seed.ids), min(budget, self.queued_tokens // (self._idle + 1)))
        batch = [seed]
        self._mark_taken(seed)
        tokens = len(seed.ids)
        width = _width(seed.bucket)
        # The seed's own length first, then shorter ones, which cost less padding than longer ones.
        for bucket in (*range(seed.bucket, -1, -1), *range(seed.bucket + 1, len(self._buckets))):
            while (item := self._head(bucket)) is not None:
                width = max(width, _width(bucket))
                real = tokens + len(item.ids)
                cost = (len(batch) + 1) * width if self._engine.pads else real
                if cost > budget or (bucket != seed.bucket and cost > _MAX_PADDING * real + _FREE_PADDING):
                    if bucket > seed.bucket:
                        return batch
                    break
                heapq.heappop(self._buckets[bucket])
                self._mark_taken(item)
                batch.append(item)
                tokens = real
        return batch

    def _seed(self) -> _Item | None:
        self._turn += 1
        if self._turn % _OLDEST_EACH == 0:
            while self._by_age:
                item = self._by_age.popleft()
                if not item.taken and self._is_wanted(item):
                    return item
        heads = [head for bucket in range(len(self._buckets)) if (head := self._head(bucket)) is not None]
        seed = min(heads, default=None)
        if seed is not None:
            # Only a fair seed moves the clock: one chosen by age may be far ahead, and newcomers would start behind it.
            self._virtual_now = max(self._virtual_now, seed.virtual_start)
        return seed

    def _head(self, bucket: int) -> _Item | None:
        """The first item of a bucket that still has to be computed; what is in front of it is dropped."""
        heap = self._buckets[bucket]
        while heap:
            if not heap[0].taken and self._is_wanted(heap[0]):
                return heap[0]
            heapq.heappop(heap)
        return None

    def _is_wanted(self, item: _Item) -> bool:
        if any(not call.future.done() for call, _ in item.wanted_by):
            return True
        self._mark_taken(item)
        self._in_flight.pop(item.key, None)
        return False

    def _mark_taken(self, item: _Item) -> None:
        item.taken = True
        self.queued_tokens -= len(item.ids)
        while self._by_age and self._by_age[0].taken:
            self._by_age.popleft()

    def _compute(self, batch: list[_Item]) -> None:
        started = time.monotonic()
        vectors: Vectors | None = None
        try:
            computed = self._engine.embed([item.ids for item in batch])
            if computed.shape != (len(batch), DIMENSIONS):
                raise ValueError(f"the engine answered {computed.shape} for {len(batch)} sequences")
            vectors = computed
        except Exception:
            log.exception("a batch of %d sequences failed", len(batch))
        finally:
            # Also on the way out of a dying worker: nobody may wait for ever.
            finished = time.monotonic()
            self._deliver(batch, vectors)
            self._account(batch, started, finished, failed=vectors is None)

    def _deliver(self, batch: list[_Item], vectors: Vectors | None) -> None:
        finished: dict[_Call, None] = {}
        with self._lock:
            for item in batch:
                self._in_flight.pop(item.key, None)
            for place, item in enumerate(batch):
                for call, target in item.wanted_by:
                    call.missing -= 1
                    if vectors is not None:
                        call.vectors[target] = vectors[place]
                    if call.missing == 0 or vectors is None:
                        finished[call] = None
        for call in finished:
            try:
                if vectors is None:
                    call.future.set_exception(ProviderUnavailableError("the model failed on this input; try again"))
                else:
                    call.future.set_result(call.vectors)
            except (InvalidStateError, CancelledError):
                pass  # cancelled, or failed by another batch

    def _account(self, batch: list[_Item], started: float, finished: float, *, failed: bool) -> None:
        tokens = sum(len(item.ids) for item in batch)
        if not failed:
            self.last_success = finished
            rate = self._engine.workers * tokens / max(1e-6, finished - started)
            self._rate += 0.1 * (rate - self._rate)
        if self.watcher is not None:
            queued = started - min(item.enqueued for item in batch)
            self.watcher(BatchStats(len(batch), tokens, queued, finished - started, failed))


def _width(bucket: int) -> int:
    """The longest sequence of a bucket, in tokens."""
    return (bucket + 1) * _BUCKET
