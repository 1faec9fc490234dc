"""A map that is bounded in bytes: what was used least lately makes room, and what is past its time is dropped."""

import heapq
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_SLICE: Final = 256  # entries dropped at once, before others may take the lock


class _Entry(NamedTuple, Generic[V]):
    value: V
    size: int
    due: int | None


class LruCache(Generic[K, V]):
    """Thread-safe. Sizes are the caller's, who knows what a value and its key weigh."""

    def __init__(self, limit: int, *, largest: int | None = None) -> None:
        """limit: bytes of all entries; largest: bytes of one, else the limit."""
        self.limit = limit
        self.largest = limit if largest is None else largest
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._size = 0
        self._due: dict[int, dict[K, None]] = {}  # keys by the second in which they are dropped
        self._seconds: list[int] = []  # a heap of the keys of `_due`
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self._size

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value, which is now the one used last."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry.value

    def put(self, key: K, value: V, size: int, *, due: int | None = None) -> bool:
        """Keep a value in place of its key's former one. False if it is too large to keep; the former is gone then.

        due: the second of the caller's clock from which `drop_due` drops it; None: never.
        """
        with self._lock:
            self._drop(key)
            if size > self.largest:
                return False
            self._entries[key] = _Entry(value, size, due)
            self._size += size
            if due is not None:
                if due not in self._due:
                    self._due[due] = {}
                    heapq.heappush(self._seconds, due)
                self._due[due][key] = None
            while self._size > self.limit:
                self._drop(next(iter(self._entries)))
            return True

    def drop(self, key: K) -> None:
        """Forget a key, if it is there."""
        with self._lock:
            self._drop(key)

    def drop_due(self, now: float) -> None:
        """Forget what is due at `now`, a little at a time, so that others may use the cache meanwhile."""
        while True:
            with self._lock:
                if not self._seconds or self._seconds[0] > now:
                    return
                keys = self._due[self._seconds[0]]
                for _ in range(min(_SLICE, len(keys))):
                    self._drop(next(iter(keys)))
                if not keys:
                    del self._due[heapq.heappop(self._seconds)]
            time.sleep(0)

    def _drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size
            if entry.due is not None:
                del self._due[entry.due][key]
