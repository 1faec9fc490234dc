"""A provider's own words, made fit to be shown: short, printable, no page, nothing that looks like a credential."""

import re
from typing import Final

LONGEST: Final = 300  # characters shown
_READ: Final = 4_096  # characters looked at
_REMOVED: Final = "[removed]"
_WINDOW: Final = 8  # as many characters of a credential in a row give it away
_PAGE: Final = re.compile(r"<[ /]?(!doctype|html|head|body|title|script|style|center|div|h1|p)\b", re.IGNORECASE)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+\S{8,}", re.IGNORECASE)
_KEY_LIKE: Final = re.compile(
    r"(?<![A-Za-z0-9])(sk|pk|rk|pa|nk|al|gsk|csk|hf|fw|xai|jina|nvapi)[-_][A-Za-z0-9_*-]{8,}"  # by their beginnings
    r"|AIza[\w-]{8,}|ABSK[\w+/=-]{8,}|eyJ[\w.-]{8,}"
    r"|[*•…]{3}|\w\.{3,}\w"  # masked: the ends are shown
)
# From the beginning of a run only: from every place in it, it would take the square of its length.
_OPAQUE: Final = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{24,}")


def is_page(text: str) -> bool:
    """Whether it is HTML."""
    return _PAGE.search(text) is not None


def shown(text: str, credential: str | None) -> str:
    """What callers may see of it; empty if nothing."""
    if len(text) > _READ:
        text = text[:_READ].rpartition(" ")[0]  # no half of a word
    if is_page(text):
        return ""
    # First this: what stands between the parts of a credential must not hide it.
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    text = _without(text, credential)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _without(text: str, credential: str | None) -> str:
    pieces: list[str] = []
    if credential:
        text = re.sub(re.escape(credential), _REMOVED, text, flags=re.IGNORECASE)
        lowered, secret = text.lower(), credential.lower()
        windows = {secret[start : start + _WINDOW] for start in range(len(secret) - _WINDOW + 1)}
        pieces = [window for window in windows if window in lowered]
    text = _BEARER.sub(_REMOVED, text)
    return " ".join(_REMOVED if _is_key(word, pieces) else word for word in text.split(" "))


def _is_key(word: str, pieces: list[str]) -> bool:
    lowered = word.lower()
    return (
        any(piece in lowered for piece in pieces)
        or _KEY_LIKE.search(word) is not None
        or _OPAQUE.search(word) is not None
    )
