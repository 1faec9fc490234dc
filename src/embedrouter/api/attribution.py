"""Which app a request comes from, as its headers say: bounded, cleaned, and never trusted to be well-formed."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from embedrouter.ledger.apps import AppClaim
from embedrouter.ledger.rankings import SUBCATEGORIES

LONGEST_URL: Final = 512
LONGEST_TITLE: Final = 120
_LONGEST_CATEGORY: Final = 30
_MOST_CATEGORIES: Final = 2  # of one request
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")


def claim_of(header: Callable[[bytes], str | None]) -> AppClaim | None:
    """What a request says about its app; None where it names none. header: gives a header by its lower-case name."""
    given = header(b"http-referer")
    url = app_url(given) if given else None
    if url is None:
        page = header(b"referer")  # of a browser: its path is a page, not an app
        url = app_url(page, path=False) if page else None
        if url is None:
            return None
    title = clean_title(header(b"x-openrouter-title") or header(b"x-title"))
    if title is None and is_local(url):
        return None
    return AppClaim(url, title, categories_of(header(b"x-openrouter-categories")))


@lru_cache(maxsize=4096)
def app_url(text: str, *, path: bool = True) -> str | None:
    """The URL that is an app: scheme, host, port, path; None for what is none.

    Without what may be secret or of one page only: user, query, fragment.
    """
    text = text.strip()
    if len(text) > LONGEST_URL or not text.isascii() or not text.isprintable() or "\\" in text:
        return None
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not _PATH.fullmatch(parts.path):
        return None
    if ":" in host:
        if not _is_address(host):
            return None
        host = f"[{host}]"
    elif len(host) > 253 or not _HOST.fullmatch(host):
        return None
    shown = "" if port is None or port == _PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{host}{shown}{parts.path.rstrip('/') if path else ''}"


def is_local(url: str) -> bool:
    """Whether an app's URL is on the machine that calls it, where everybody has one."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and (ip_address(host).is_loopback or ip_address(host).is_unspecified)


def clean_title(text: str | None) -> str | None:
    """Printable, on one line, bounded; header bytes are UTF-8 or, failing that, Latin-1."""
    if not text:
        return None
    with suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * LONGEST_TITLE])
    return " ".join(printable.split())[:LONGEST_TITLE].strip() or None


def categories_of(csv: str | None) -> tuple[str, ...]:
    """The first two known ones."""
    if not csv:
        return ()
    words = (word.strip().lower() for word in csv[:LONGEST_URL].split(","))
    known = dict.fromkeys(word for word in words if len(word) <= _LONGEST_CATEGORY and word in SUBCATEGORIES)
    return tuple(known)[:_MOST_CATEGORIES]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
