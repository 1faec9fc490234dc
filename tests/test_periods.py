"""Attack 46: no leap day, month's end or local clock moves the start of a period."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from embedrouter.periods import DAY, SECOND, Period, end_of, start_of

_FIRST, _LAST = date(2023, 12, 1), date(2032, 3, 31)  # three leap days, and years of 53 weeks


@pytest.fixture(params=["UTC", "America/New_York", "Pacific/Kiritimati"])
def _clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is set to a zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


@pytest.mark.usefixtures("_clock")
def test_46_every_moment_of_a_day_week_and_month_is_in_it() -> None:
    day = _FIRST
    while day <= _LAST:
        month = day.replace(day=1)
        after = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        monday = day - timedelta(day.weekday())
        expected: dict[Period, tuple[int, int]] = {
            "day": (_midnight(day), _midnight(day) + DAY),
            "week": (_midnight(monday), _midnight(monday) + 7 * DAY),
            "month": (_midnight(month), _midnight(after)),
        }
        for period, (start, end) in expected.items():
            for at in (_midnight(day) * SECOND, (_midnight(day) + DAY) * SECOND - 1):
                assert (start_of(period, at), end_of(period, at)) == (start, end), (period, day)
        day += timedelta(1)


def test_46_what_never_resets_has_one_period() -> None:
    for at in (0, _midnight(_FIRST) * SECOND, _midnight(_LAST) * SECOND):
        assert (start_of("total", at), end_of("total", at)) == (0, None)
