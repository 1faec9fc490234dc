"""What a generation remembers of each try."""

from collections.abc import Sequence
from typing import NamedTuple

import orjson


class Attempt(NamedTuple):
    """One try at one endpoint."""

    provider_name: str
    endpoint: str  # tag
    model_permaslug: str
    status: int | None  # HTTP; None if it never answered
    latency_us: int
    is_byok: bool = False


def attempts_json(attempts: Sequence[Attempt]) -> str:
    """As they are kept in the row."""
    return orjson.dumps([attempt._asdict() for attempt in attempts]).decode()
