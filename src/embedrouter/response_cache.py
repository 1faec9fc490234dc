"""Whole answers, kept in memory for clients that ask for it.

An answer is found again only by the key that it was made for, and only by the same body.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from embedrouter.catalog.models import Model
from embedrouter.lru import LruCache
from embedrouter.work import Source

LONGEST_TTL: Final = 86_400  # seconds
_SHARE: Final = 8  # one answer may take this part of the cache
_OVERHEAD: Final = 1_536  # bytes of an entry beyond its body: measured, a bit less

Key = tuple[int, bytes]  # the API key's id, the digest of what was asked


class Encoded(NamedTuple):
    """An answer's bytes."""

    body: bytes
    data: int  # of its beginning, up to the tail


class Ticket(NamedTuple):
    """What a client asks of the cache."""

    key: Key
    ttl: int  # seconds
    clear: bool  # forget what is kept, and keep the new answer


class Kept(NamedTuple):
    """An answer in the cache."""

    encoded: Encoded
    source: Source
    headers: Mapping[str, str]  # that say how its vectors were made
    at: float  # seconds of the cache's clock
    ttl: int


class Hit(NamedTuple):
    """An answer found."""

    kept: Kept
    age: int  # seconds

    @property
    def headers(self) -> dict[str, str]:
        """Those of the answer it becomes."""
        return {
            **self.kept.headers,
            "X-OpenRouter-Cache-Status": "HIT",
            "X-OpenRouter-Cache-Age": str(self.age),
            "X-OpenRouter-Cache-TTL": str(self.kept.ttl - self.age),
            "X-OpenRouter-Cache-Source-Id": self.kept.source.generation_id,
        }


class ResponseCache:
    """One a process."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        """limit: bytes. clock: seconds that only ever grow."""
        self.entries: LruCache[Key, Kept] = LruCache(limit, largest=limit // _SHARE)
        self.hits = 0
        self.misses = 0
        self._clock = clock

    def find(self, ticket: Ticket, model: Model) -> Hit | None:
        """The answer kept for it, unless it has expired, is to be cleared, or is of the model as it was before the
        catalog changed. model: as the catalog has it now."""
        if ticket.clear:
            self.entries.drop(ticket.key)
        kept = self.entries.get(ticket.key)
        if kept is not None:
            age = self._clock() - kept.at
            if age < kept.ttl and kept.source.model == model:
                self.hits += 1
                return Hit(kept, int(age))
            self.entries.drop(ticket.key)
        self.misses += 1
        return None

    def keep(self, ticket: Ticket, encoded: Encoded, source: Source, headers: Mapping[str, str]) -> bool:
        """Keep an answer; False if it is too large. headers: as in `Kept`."""
        now = self._clock()
        kept = Kept(encoded, source, headers, now, ticket.ttl)
        return self.entries.put(ticket.key, kept, len(encoded.body) + _OVERHEAD, due=math.ceil(now + ticket.ttl))

    def drop_expired(self) -> None:
        """So that nobody's vectors stay in memory longer than he asked for; from any thread."""
        self.entries.drop_due(self._clock())
