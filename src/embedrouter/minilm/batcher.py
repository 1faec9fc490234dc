"""The micro-batcher: many callers' sequences, computed in good batches by a few worker threads, without timers.

A free worker takes what waits, in the order of `FairQueue`; nothing ever waits for company. When little waits, its
share is smaller, so that all workers have some. Identical sequences in flight are computed once. What a caller gives up
is dropped at once. A batch that fails, fails the callers that had a sequence in it and nobody else. A worker that dies
is replaced.
"""

import logging
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from embedrouter.errors import OverloadedError, ProviderUnavailableError
from embedrouter.minilm.engines.base import Engine
from embedrouter.minilm.facts import DIMENSIONS, MAX_LENGTH
from embedrouter.minilm.queue import FairQueue, Waiting
from embedrouter.minilm.windows import Ids, Vectors

log = logging.getLogger(__name__)

_SMALL: Final = 32  # tokens; a batch below this is not divided among idle workers
_FIRST_RATE: Final = 10_000.0  # tokens a second, until batches have been measured
_LONGEST_RETRY: Final = 60  # seconds


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

    __slots__ = ("__weakref__", "future", "items", "missing", "vectors")

    def __init__(self, size: int) -> None:
        self.future: Future[Vectors] = Future()
        self.vectors = np.empty((size, DIMENSIONS), np.float32)
        self.missing = size
        self.items: list[_Item] = []


class _Item(Waiting):
    """One distinct sequence that waits or is being computed, and everyone who wants it."""

    __slots__ = ("key", "wanted_by")

    def __init__(self, ids: Ids, key: bytes, virtual_start: float, enqueued: float) -> None:
        super().__init__(ids, virtual_start, enqueued)
        self.key = key
        self.wanted_by: list[tuple[_Call, int]] = []


class Batcher:
    """Owns the worker threads. Thread-safe. Close it to stop them."""

    def __init__(
        self,
        engine: Engine,
        *,
        token_budget: int = 512,
        max_queued_tokens: int = sys.maxsize,
        max_wait: float = math.inf,
        watcher: Watcher | None = None,
    ) -> None:
        """token_budget: padded tokens of one batch, at least 256.

        A call is refused when more than max_queued_tokens would wait, or when what fairness puts before it would take
        longer than max_wait seconds at the rate measured lately. When nothing waits, a call of any size is taken.
        """
        if token_budget < MAX_LENGTH:
            raise ValueError(f"token_budget must be at least {MAX_LENGTH}, the longest sequence")
        self._engine = engine
        self._budget = token_budget
        self._max_queued = max_queued_tokens
        self._max_wait = max_wait
        self.watcher = watcher
        self._work = threading.Condition(threading.Lock())
        self._queue: FairQueue[_Item] = FairQueue(pads=engine.pads)
        self._in_flight: dict[bytes, _Item] = {}  # waiting or being computed, by the bytes of its ids
        self._calls = 0  # that are not answered
        self._idle = 0
        self._closing = False
        self._rate = _FIRST_RATE  # a moving average
        self._threads: set[threading.Thread] = set()
        self.restarts = 0
        self.last_success = -math.inf  # time.monotonic() of the last batch that worked
        with self._work:
            for _ in range(engine.workers):
                self._start_worker()

    @property
    def queued_tokens(self) -> int:
        """Tokens that wait, without those being computed."""
        return self._queue.tokens

    @property
    def live_workers(self) -> int:
        """Worker threads that run now."""
        return sum(thread.is_alive() for thread in list(self._threads))

    def submit(self, sequences: Sequence[Ids]) -> "Future[Vectors]":
        """Queue one caller's sequences of 1 to 256 ids; the future gives their vectors (n, 384) in order.

        Cancelling the future drops what has not been computed. Raises OverloadedError when the queue is full,
        ValueError for a sequence of no or more than 256 ids.
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
        with self._work:
            self._admit(tokens)
            self._calls += 1
            self._enqueue(call, sequences, keys, order)
            self._work.notify(min(self._idle, 1 + tokens // _SMALL))
        # Weak, or the call and its future would hold each other, and its vectors wait for the garbage collector.
        reference = weakref.ref(call)
        call.future.add_done_callback(lambda _: self._release(reference()))
        return call.future

    def check_room(self, tokens: int, *, tokens_ahead: int = 0, calls_ahead: int = 0) -> None:
        """Raise OverloadedError if about `tokens` more would not be taken behind what is on its way here already."""
        with self._work:
            self._admit(tokens, tokens_ahead, calls_ahead)

    def close(self, timeout: float | None = None) -> None:
        """Refuse new calls, compute what was taken, stop the workers. timeout: seconds to wait for all of it."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        deadline = None if timeout is None else time.monotonic() + timeout
        while (left := None if deadline is None else deadline - time.monotonic()) is None or left > 0:
            thread = next(iter(list(self._threads)), None)  # looked up anew: one that dies now is replaced by another
            if thread is None:
                break
            thread.join(left)

    # --- under the lock

    def _admit(self, tokens: int, tokens_ahead: int = 0, calls_ahead: int = 0) -> None:
        if self._closing:
            raise OverloadedError("the server is shutting down", retry_after=5)
        queued = self._queue.tokens + tokens_ahead
        if not queued:
            return
        # Fairness: no caller gets much more than `tokens` before this one has had its own.
        before = min(queued, (self._calls + calls_ahead) * tokens)
        too_long = before / self._rate - self._max_wait
        too_many = (queued + tokens - self._max_queued) / self._rate
        if too_long > 0 or too_many > 0:
            wait = min(_LONGEST_RETRY, max(1, math.ceil(max(too_long, too_many))))
            raise OverloadedError(
                f"the queue is full ({queued:,} tokens wait); try again in {wait} s", retry_after=wait
            )

    def _enqueue(self, call: _Call, sequences: Sequence[Ids], keys: list[bytes], order: list[int]) -> None:
        now = time.monotonic()
        virtual_start = self._queue.now
        hastened: list[tuple[_Item, float]] = []
        for place in order:
            ids, key = sequences[place], keys[place]
            item = self._in_flight.get(key)
            if item is None:
                item = self._in_flight[key] = _Item(ids, key, virtual_start, now)
                self._queue.push(item)
                virtual_start += len(ids)
            elif item.waits and virtual_start < item.virtual_start:
                # The same text from a caller with more right to be served: it moves up for both.
                hastened.append((item, virtual_start))
                virtual_start += len(ids)
            item.wanted_by.append((call, place))
            call.items.append(item)
        if hastened:
            self._queue.hasten(hastened)

    def _share(self) -> int:
        """The tokens a worker may take: a batch's budget, or less when other workers are idle."""
        if not self._idle:
            return self._budget
        return max(_SMALL, min(self._budget, self._queue.tokens // (self._idle + 1)))

    def _release(self, call: _Call | None) -> None:
        """A call is answered, failed or cancelled: what it alone still waits for is dropped."""
        with self._work:
            self._calls -= 1
            if call is None or not call.missing:
                return
            for item in call.items:
                item.wanted_by = [want for want in item.wanted_by if want[0] is not call]
                if item.waits and not item.wanted_by:
                    self._queue.drop(item)
                    self._in_flight.pop(item.key, None)
            call.items.clear()

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
            with self._work:
                self.restarts += 1
                self._start_worker()  # also when closing: what was taken is still to be answered
        finally:
            with self._work:
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
                if batch := self._queue.take(self._share()):
                    if self._queue and self._idle:
                        self._work.notify()
                    return batch
                if self._closing:
                    return None
                self._idle += 1
                try:
                    self._work.wait()
                finally:
                    self._idle -= 1

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
            try:  # what is counted includes whatever has been answered
                self._account(batch, started, time.monotonic(), failed=vectors is None)
            finally:  # also on the way out of a dying worker: nobody may wait for ever
                self._deliver(batch, vectors)

    def _deliver(self, batch: list[_Item], vectors: Vectors | None) -> None:
        finished: dict[_Call, None] = {}
        with self._work:
            for place, item in enumerate(batch):
                self._in_flight.pop(item.key, None)
                for call, target in item.wanted_by:
                    if vectors is None:
                        finished[call] = None
                        continue
                    call.vectors[target] = vectors[place]
                    call.missing -= 1
                    if call.missing == 0:
                        finished[call] = None
                item.wanted_by = []  # a call and its items must not hold each other
        for call in finished:
            with suppress(InvalidStateError, CancelledError):  # given up, or failed by another batch
                if vectors is None:
                    call.future.set_exception(ProviderUnavailableError("the model failed on this input; try again"))
                else:
                    call.future.set_result(call.vectors)

    def _account(self, batch: list[_Item], started: float, finished: float, *, failed: bool) -> None:
        tokens = sum(len(item.ids) for item in batch)
        if not failed:
            self.last_success = finished
            rate = self._engine.workers * tokens / max(1e-6, finished - started)
            self._rate += 0.1 * (rate - self._rate)
        if self.watcher is not None:
            queued = started - min(item.enqueued for item in batch)
            self.watcher(BatchStats(len(batch), tokens, queued, finished - started, failed))
