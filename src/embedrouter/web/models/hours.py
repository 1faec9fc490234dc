"""Hours along an axis."""

from collections.abc import Iterable
from datetime import UTC, datetime


def labels(starts: Iterable[int]) -> list[str]:
    """Seconds as "23 Nov 13:00", UTC."""
    return [label(start) for start in starts]


def label(start: int) -> str:
    """One of them."""
    at = datetime.fromtimestamp(start, UTC)
    return f"{at.day} {at:%b %H:%M}"
