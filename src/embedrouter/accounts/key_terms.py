"""What may be said of a key, wherever it is said: names, limits, rates, the time it ends."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta

from embedrouter.fields import bad_field
from embedrouter.money import MOST, PICO

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Usd = Annotated[float, Meta(ge=0, le=MOST // PICO, description="USD")]
Time = Annotated[datetime, Meta(tz=True, description="UTC, in the future")]
PerMinute = Annotated[int, Meta(ge=1, le=2_147_483_647)]
TokensPerMinute = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
Concurrent = Annotated[int, Meta(ge=1, le=1_000_000)]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END: Final = datetime(9999, 1, 1, tzinfo=UTC)


def expiry(time: datetime, at: int) -> int:
    """Microseconds. at: now."""
    if time.utcoffset() != timedelta(0):
        raise bad_field("expires_at", "must be in UTC: 2030-01-01T00:00:00Z")
    expiry = (time - _EPOCH) // timedelta(microseconds=1)
    if expiry <= at or time >= _END:
        raise bad_field("expires_at", "must be in the future; to stop a key now, disable or delete it")
    return expiry
