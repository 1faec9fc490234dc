"""Loops: a gateway whose provider is, by whatever way round, the gateway itself.

Each gateway writes its installation's id into a header of what it sends. One that finds its own id there, or too many
of others, refuses with 502: the gateway before it then tries its other providers, as it would if this one had failed.
"""

import re
from typing import Final

HEADER: Final = "X-EmbedRouter-Hop"  # ids of the gateways a request came through, with commas between them
MAX_HOPS: Final = 3  # gateways before this one

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST: Final = 1_024  # characters of a header that is read


def hops_of(header: str | None) -> tuple[str, ...]:
    """Ids of the gateways a request came through. What is no id counts as one, so that nobody is let off for it."""
    if not header:
        return ()
    return tuple(part.strip() for part in header[:_LONGEST].split(",") if part.strip())


def loop(header: str | None, instance: str) -> str | None:
    """Why a request is not served by this installation; None: it is."""
    hops = hops_of(header)
    if instance in hops:
        return "This request came back to the gateway it went out from: a provider's base URL leads here."
    if len(hops) > MAX_HOPS:
        return f"This request came through {len(hops)} gateways; at most {MAX_HOPS} may stand before this one."
    return None


def passed_on(header: str | None, instance: str) -> str:
    """The header's value for what this installation sends. header: as it came."""
    return ",".join((*(hop for hop in hops_of(header) if _ID.fullmatch(hop)), instance))
