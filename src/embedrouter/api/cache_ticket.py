"""What a request asks of the response cache, by its headers and its preset.

White space between JSON's tokens does not count, the order of properties does. Who sent it (referer, title, session)
does not count either.
"""

import asyncio
import hashlib
import re
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from embedrouter.api.exchange import Exchange
from embedrouter.catalog.constraints import Constraints
from embedrouter.response_cache import LONGEST_TTL, Ticket

DEFAULT_TTL: Final = 300  # seconds
_LARGE: Final = 65_536  # bytes; a body above is digested in a thread
_PARSE_INT: Final = re.compile(r"\s*([+-]?)0*(\d{1,18})", re.ASCII)  # a longer number is beyond any bound, too


class Wish(NamedTuple):
    """What a request's preset says of the cache; None says nothing."""

    enabled: bool | None = None
    ttl: int | None = None  # seconds
    version: str | None = None  # the preset's, for the same body means something else in the next one


async def ticket_of(
    exchange: Exchange, key_id: int, body: bytes, wish: Wish, constraints: Constraints, api_type: str
) -> Ticket | None:
    """What a request asks of the cache; None where it does not ask, or must not. body: decoded without an error before.
    api_type: the route's name.

    A preset's no counts more than the header, the header more than a preset's yes. Where an administrator wants no
    prompts retained, nothing that was made of them is either.
    """
    header = exchange.header(b"x-openrouter-cache")
    if constraints.zdr or wish.enabled is False or not (_is_true(header) if header is not None else wish.enabled):
        return None
    encoding = (exchange.header(b"x-token-encoding") or "").strip().lower()
    means = f"{api_type}\n{encoding or 'cl100k_base'}\n{wish.version or ''}\n{hash(constraints)}"
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
    digest = hashlib.sha256(f"{means}\n".encode())
    digest.update(body)
    return digest.digest()
