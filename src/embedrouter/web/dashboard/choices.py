"""What a page's address or form asks for."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from embedrouter.fields import bad_field

T = TypeVar("T", bound=str)

_NO_TIME: Final = "expected a time in UTC like 2030-01-31T12:00"


def choice(query: Mapping[str, str], name: str, allowed: Sequence[T], otherwise: T) -> T:
    """One of several words. Raises InvalidRequestError."""
    given = query.get(name) or otherwise
    for one in allowed:
        if given == one:
            return one
    raise bad_field(name, f"expected one of {', '.join(allowed)}")


def moment(field: str, text: str) -> datetime | None:
    """A time in UTC, as a browser's datetime-local field sends it; None for none. Raises InvalidRequestError."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError as error:
        raise bad_field(field, _NO_TIME) from error
    if found.tzinfo is not None:
        raise bad_field(field, _NO_TIME)
    return found.replace(tzinfo=UTC)
