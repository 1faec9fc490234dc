"""Time zones: which minute, hour, day, week or month of a zone a second belongs to, in Python and in SQL.

Sums are kept by quarter of an hour, and every zone's offset from UTC is a whole number of quarters today: so a day of
any zone is a whole number of rows, also the days of 23 and 25 hours on which its clocks change.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, case, literal
from sqlalchemy.sql import ColumnElement

from embedrouter.errors import InvalidRequestError
from embedrouter.periods import DAY, SECOND

Granularity = Literal["minute", "hour", "day", "week", "month"]
GRANULARITIES: Final[tuple[Granularity, ...]] = ("minute", "hour", "day", "week", "month")

_LONGEST_NAME: Final = 64
_PROBE: Final = 6 * 3600  # seconds; no zone changes its clocks twice in so short a time
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (a clock on the wall)


class Stretch(NamedTuple):
    """A time in which a zone's clocks were not changed."""

    end: int  # its first second no more
    offset: int  # seconds that its clocks are ahead of UTC


def zone(name: str) -> tzinfo:
    """A time zone by its IANA name. Raises InvalidRequestError."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        if len(name) > _LONGEST_NAME:
            raise ValueError("too long")
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise InvalidRequestError(
            f'timezone: "{name[:_LONGEST_NAME]}" is not an IANA time zone; send one like "Europe/Berlin" or "UTC"',
            metadata={"field": "timezone"},
        ) from error


def today(at: int, of: tzinfo) -> date:
    """The day at a time in microseconds."""
    return datetime.fromtimestamp(at // SECOND, of).date()


def midnight(day: date, of: tzinfo) -> int:
    """The first second of a day; where clocks skip midnight, the second after the gap."""
    return int(datetime(day.year, day.month, day.day, tzinfo=of).timestamp())


def told(step: int, granularity: Granularity, of: tzinfo) -> str:
    """A step as ISO 8601: its first moment, with the zone's offset."""
    second = step if granularity in ("minute", "hour") else midnight(day_of(step), of)
    text = datetime.fromtimestamp(second, of).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z" if of is UTC else text


@lru_cache(maxsize=1024)
def day_of(step: int) -> date:
    """The (first) day of a step that is a day, week or month."""
    return (_EPOCH + timedelta(seconds=step)).date()


@lru_cache(maxsize=64)
def stretches(of: tzinfo, start: int, end: int) -> tuple[Stretch, ...]:
    """From second `start` to `end`, cut where the clocks change."""
    return tuple(_cut(of, start, max(end, start + 1)))


def step_of(second: ColumnElement[int], granularity: Granularity, of: tzinfo, start: int, end: int) -> Any:
    """SQL: the step that holds a second between `start` and `end`.

    A minute or hour is told by its first second in UTC, so that the hour that comes twice is two. A day, week or month
    is told by its first second as if the zone were UTC, since its clocks may change within.
    """
    ahead = _offset(second, of, start, end)
    if granularity == "minute":
        return second - (second + ahead) % 60
    if granularity == "hour":
        return second - (second + ahead) % 3600
    local = second + ahead
    day = local - local % DAY
    if granularity == "day":
        return day
    if granularity == "week":
        return day - (day // DAY + 3) % 7 * DAY  # the first of January 1970 was a Thursday
    return _month(local, of, start, end)


def _cut(of: tzinfo, start: int, end: int) -> Iterator[Stretch]:
    offset = _ahead(start, of)
    at = start
    while at < end:
        following = min(at + _PROBE, end)
        if _ahead(following, of) != offset:
            before = at
            while following - before > 1:
                middle = (before + following) // 2
                if _ahead(middle, of) == offset:
                    before = middle
                else:
                    following = middle
            if following < end:
                yield Stretch(following, offset)
                offset = _ahead(following, of)
        at = following
    yield Stretch(end, offset)


def _ahead(second: int, of: tzinfo) -> int:
    offset = datetime.fromtimestamp(second, of).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _offset(second: ColumnElement[int], of: tzinfo, start: int, end: int) -> ColumnElement[int]:
    *changing, last = stretches(of, start, end)
    if not changing:
        return literal(last.offset, BigInteger)
    return case(
        *((second < literal(stretch.end, BigInteger), literal(stretch.offset, BigInteger)) for stretch in changing),
        else_=literal(last.offset, BigInteger),
    )


def _month(local: Any, of: tzinfo, start: int, end: int) -> Any:
    first = (_EPOCH + timedelta(seconds=start + _ahead(start, of))).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    last = _EPOCH + timedelta(seconds=end + _ahead(end, of))
    firsts = [first]
    while firsts[-1] <= last:
        firsts.append((firsts[-1] + timedelta(days=32)).replace(day=1))
    seconds = [int((month - _EPOCH).total_seconds()) for month in firsts]
    branches = [
        (local < literal(following, BigInteger), literal(month, BigInteger)) for month, following in pairwise(seconds)
    ]
    return case(*branches, else_=literal(seconds[-1], BigInteger))
