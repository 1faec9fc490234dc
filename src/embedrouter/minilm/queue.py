"""Which sequences are computed next: fair to callers, alike in length, without a clock.

Each sequence carries a virtual start: the tokens its caller was served before it, counted from the queue's own virtual
time when it came (start-time fair queueing). So a single text overtakes the tail of a 2,048-item request, and a large
request shares with the small ones that come after it. Each fourth batch starts from the oldest sequence instead, so
that no stream of small callers starves a large one.

Source: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
"""

import heapq
import itertools
from collections import deque
from typing import Final, Generic, TypeVar

from embedrouter.minilm.facts import MAX_LENGTH
from embedrouter.minilm.windows import Ids

_BUCKET: Final = 2  # lengths are grouped by this many tokens
_OLDEST_EACH: Final = 4  # each fourth batch is seeded by age
_MAX_PADDING: Final = 1.15  # a padded batch may cost this much more than its tokens ...
_FREE_PADDING: Final = 16  # ... and this many tokens more, about what starting another batch costs
_SLACK: Final = 256  # entries of sequences that wait no more, before they are swept out


class Waiting:
    """One sequence in the queue."""

    __slots__ = ("bucket", "enqueued", "ids", "number", "virtual_start", "waits")

    def __init__(self, ids: Ids, virtual_start: float, enqueued: float) -> None:
        """ids: 1 to 256 of them. enqueued: seconds of the monotonic clock."""
        self.ids = ids
        self.virtual_start = virtual_start
        self.enqueued = enqueued
        self.bucket = (len(ids) - 1) // _BUCKET
        self.number = 0
        self.waits = False

    def __lt__(self, other: "Waiting") -> bool:
        return (self.virtual_start, self.number) < (other.virtual_start, other.number)


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """Not thread-safe: its owner holds a lock."""

    def __init__(self, *, pads: bool) -> None:
        """pads: whether a batch costs its longest sequence times its size, or just its tokens."""
        self._pads = pads
        # Every waiting sequence is in the heap of its length and in the line by age. One that was taken through the
        # one stays in the other until it comes up or is swept out.
        self._heaps: list[list[W]] = [[] for _ in range(-(-MAX_LENGTH // _BUCKET))]
        self._by_age: deque[W] = deque()
        self._in_heaps = 0
        self._numbers = itertools.count()
        self._turn = 0
        self.now = 0.0  # virtual time: where newcomers start
        self.tokens = 0  # that wait
        self._count = 0

    def __len__(self) -> int:
        """Sequences that wait."""
        return self._count

    @property
    def entries(self) -> int:
        """Sequences held, whether they still wait or not: bounded by twice the waiting ones and a slack."""
        return max(self._in_heaps, len(self._by_age))

    def push(self, item: W) -> None:
        """Let a sequence wait."""
        item.number = next(self._numbers)
        item.waits = True
        heapq.heappush(self._heaps[item.bucket], item)
        self._by_age.append(item)
        self._in_heaps += 1
        self._count += 1
        self.tokens += len(item.ids)

    def hasten(self, items: list[tuple[W, float]]) -> None:
        """Move waiting sequences up to new, smaller virtual starts."""
        for item, virtual_start in items:
            item.virtual_start = virtual_start
        for bucket in {item.bucket for item, _ in items}:
            heapq.heapify(self._heaps[bucket])

    def drop(self, item: W) -> None:
        """Take a waiting sequence out: nobody wants it any more."""
        self._leave(item)
        self._sweep()

    def take(self, budget: int) -> list[W]:
        """A batch of at most `budget` tokens, padding included, or of one sequence; empty if nothing waits."""
        seed = self._seed()
        if seed is None:
            return []
        self._leave(seed)
        batch = [seed]
        tokens = len(seed.ids)
        width = _width(seed.bucket)
        # The seed's own length first, then shorter ones, which cost less padding than longer ones.
        for bucket in (*range(seed.bucket, -1, -1), *range(seed.bucket + 1, len(self._heaps))):
            while (item := self._head(bucket)) is not None:
                width = max(width, _width(bucket))
                real = tokens + len(item.ids)
                cost = (len(batch) + 1) * width if self._pads else real
                if cost > budget or (bucket != seed.bucket and cost > _MAX_PADDING * real + _FREE_PADDING):
                    if bucket > seed.bucket:
                        return batch
                    break
                self._pop(bucket)
                self._leave(item)
                batch.append(item)
                tokens = real
        self._sweep()
        return batch

    def _seed(self) -> W | None:
        self._turn += 1
        if self._turn % _OLDEST_EACH == 0:
            while self._by_age:
                item = self._by_age.popleft()
                if item.waits:
                    return item
        heads = [head for bucket in range(len(self._heaps)) if (head := self._head(bucket)) is not None]
        seed = min(heads, default=None)
        if seed is not None:
            # Only a fair seed moves the time: one chosen by age may be far ahead, and newcomers would start behind it.
            self.now = max(self.now, seed.virtual_start)
        return seed

    def _head(self, bucket: int) -> W | None:
        heap = self._heaps[bucket]
        while heap and not heap[0].waits:
            self._pop(bucket)
        return heap[0] if heap else None

    def _pop(self, bucket: int) -> None:
        heapq.heappop(self._heaps[bucket])
        self._in_heaps -= 1

    def _leave(self, item: W) -> None:
        item.waits = False
        self._count -= 1
        self.tokens -= len(item.ids)

    def _sweep(self) -> None:
        """Forget what waits no more, once it is the larger part."""
        while self._by_age and not self._by_age[0].waits:
            self._by_age.popleft()
        if self.entries <= 2 * self._count + _SLACK and (self._count or not self._in_heaps):
            return
        self._by_age = deque(item for item in self._by_age if item.waits)
        for heap in self._heaps:
            heap[:] = [item for item in heap if item.waits]
            heapq.heapify(heap)
        self._in_heaps = self._count


def _width(bucket: int) -> int:
    """The longest sequence of a bucket, in tokens."""
    return (bucket + 1) * _BUCKET
