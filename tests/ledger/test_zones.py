import random
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest

from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.zones import midnight, stretches, told, zone
from embedrouter.periods import QUARTER

_START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
_END = int(datetime(2027, 3, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/Santiago", date(2026, 9, 6), 23),  # it skips its midnight
        ("Asia/Kathmandu", date(2026, 9, 6), 24),
        ("UTC", date(2026, 3, 29), 24),
    ],
)
def test_a_day_is_as_long_as_it_is_there(name: str, day: date, hours: float) -> None:
    following = date.fromordinal(day.toordinal() + 1)
    assert midnight(following, zone(name)) - midnight(day, zone(name)) == hours * 3600


def test_a_day_without_midnight_begins_when_its_clocks_do() -> None:
    santiago = zone("America/Santiago")
    step = int(datetime(2026, 9, 6, tzinfo=UTC).timestamp())
    assert told(step, "day", santiago) == "2026-09-06T01:00:00.000-03:00"
    assert told(step, "day", UTC) == "2026-09-06T00:00:00.000Z"


def test_sums_by_quarters_of_an_hour_are_exact_in_every_zone() -> None:
    """Where a zone's clocks are changed, and how far they are ahead, is a whole number of quarters."""
    some = random.Random(0)
    for name in sorted(available_timezones()):
        known = ZoneInfo(name)
        found = stretches(known, _START, _END)
        assert found[-1].end == _END
        start = _START
        for stretch in found:
            assert stretch.end % QUARTER == 0, name
            assert stretch.offset % QUARTER == 0, name
            for second in (start, stretch.end - 1, *(some.randrange(start, stretch.end) for _ in range(3))):
                offset = datetime.fromtimestamp(second, known).utcoffset()
                assert offset is not None
                assert offset.total_seconds() == stretch.offset, (name, second)
            start = stretch.end


@pytest.mark.parametrize("wrong", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a\0b", "Europe", "x" * 999])
def test_what_is_no_zone_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequestError, match="timezone") as caught:
        zone(wrong)
    assert caught.value.metadata == {"field": "timezone"}
