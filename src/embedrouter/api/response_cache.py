"""The response cache: whole answers of POST /embeddings, kept for clients that ask for it by header.

An answer is found again only by the key that it was made for, and only by the same body: white space between JSON's
tokens does not count, the order of properties does. Who sent it (referer, title, session) does not count either.
"""

import asyncio
import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from embedrouter.api.answers import Encoded
from embedrouter.api.exchange import Exchange
from embedrouter.catalog.constraints import Constraints
from embedrouter.lru import LruCache
from embedrouter.work import Source

DEFAULT_TTL: Final = 300  # seconds
LONGEST_TTL: Final = 86_400
_SHARE: Final = 8  # one answer may take this part of the cache
_OVERHEAD: Final = 1_536  # bytes of an entry beyond its body: measured, a bit less
_LARGE: Final = 65_536  # bytes; a body above is digested in a thread
_PARSE_INT: Final = re.compile(r"\s*([+-]?)0*(\d{1,18})", re.ASCII)  # a longer number is beyond any bound, too

Key = tuple[int, bytes]  # the API key's id, the digest of what was asked


class Wish(NamedTuple):
    """What a request's preset says of the cache; None says nothing."""

    enabled: bool | None = None
    ttl: int | None = None  # seconds
    version: str | None = None  # the preset's, for the same body means something else in the next one


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

    def find(self, ticket: Ticket) -> Hit | None:
        """The answer kept for it, unless it has expired or is to be cleared."""
        if ticket.clear:
            self.entries.drop(ticket.key)
        kept = self.entries.get(ticket.key)
        if kept is not None:
            age = self._clock() - kept.at
            if age < kept.ttl:
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


async def ticket_of(
    exchange: Exchange, key_id: int, body: bytes, wish: Wish, constraints: Constraints
) -> Ticket | None:
    """What a request asks of the cache; None where it does not ask, or must not. body: decoded without an error before.

    A preset's no counts more than the header, the header more than a preset's yes. Where an administrator wants no
    prompts retained, nothing that was made of them is either.
    """
    header = exchange.header(b"x-openrouter-cache")
    if constraints.zdr or wish.enabled is False or not (_is_true(header) if header is not None else wish.enabled):
        return None
    encoding = (exchange.header(b"x-token-encoding") or "").strip().lower()
    means = f"{encoding or 'cl100k_base'}\n{wish.version or ''}\n{hash(constraints)}"
    digest = await asyncio.to_thread(_digest, body, means) if len(body) > _LARGE else _digest(body, means)
    asked = exchange.header(b"x-openrouter-cache-ttl")
    ttl = wish.ttl if asked is None and wish.ttl is not None else ttl_of(asked)
    return Ticket((key_id, digest), ttl, _is_true(exchange.header(b"x-openrouter-cache-clear")))


def ttl_of(header: str | None) -> int:
    """Seconds, read as JavaScript's parseInt reads: "60abc" is 60, "1.5" is 1; what is no number is the default."""
    found = _PARSE_INT.match(header or "")
    if found is None:
        return DEFAULT_TTL
    seconds = int(found[1] + found[2])
    return min(LONGEST_TTL, max(1, seconds))


def _is_true(header: str | None) -> bool:
    return header is not None and header.strip().lower() == "true"


def _digest(body: bytes, means: str) -> bytes:
    """SHA-256 of everything that decides an answer: the endpoint, what the body means, the body."""
    # What this cannot read and the decoder could is known by its bytes as they are.
    with suppress(msgspec.DecodeError, RecursionError):
        body = msgspec.json.format(body, indent=-1)
    digest = hashlib.sha256(f"embeddings\n{means}\n".encode())
    digest.update(body)
    return digest.digest()
