"""Calendar periods in UTC: days, weeks from Monday, months. Computed from a time, never reset by a job."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

Period = Literal["total", "day", "week", "month"]
Reset = Literal["daily", "weekly", "monthly"]
Interval = Literal["daily", "weekly", "monthly", "lifetime"]
PERIODS: Final[tuple[Period, ...]] = ("total", "day", "week", "month")

SECOND: Final = 1_000_000  # microseconds
DAY: Final = 86_400  # seconds
HOUR: Final = 3_600  # seconds
QUARTER: Final = 900  # seconds: fits the days of every time zone

# As the API spells them; null there is `total` here.
RESETS: Final[dict[Reset, Period]] = {"daily": "day", "weekly": "week", "monthly": "month"}
RESET_OF: Final[dict[Period, Reset]] = {period: reset for reset, period in RESETS.items()}

# The same of budgets, the narrowest first.
INTERVALS: Final[dict[Interval, Period]] = {"daily": "day", "weekly": "week", "monthly": "month", "lifetime": "total"}
INTERVAL_OF: Final[dict[Period, Interval]] = {period: interval for interval, period in INTERVALS.items()}


def start_of(period: Period, at: int) -> int:
    """The first second of the period that holds the time `at`, in microseconds; 0 for `total`."""
    return _start(period, at // SECOND // DAY)


@lru_cache(maxsize=256)
def _start(period: Period, days: int) -> int:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days)
    if period == "total":
        return 0
    if period == "week":
        day -= timedelta(day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return int(day.timestamp())


def end_of(period: Period, at: int) -> int | None:
    """The first second after that period; None for `total`."""
    if period == "total":
        return None
    start = datetime.fromtimestamp(start_of(period, at), UTC)
    if period == "month":
        following = (start + timedelta(days=32)).replace(day=1)
    else:
        following = start + timedelta(days=7 if period == "week" else 1)
    return int(following.timestamp())


def iso(at: int) -> str:
    """A time in microseconds as ISO 8601 with an offset, as the API tells times."""
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds")
