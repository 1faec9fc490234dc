"""Incidents: found where an endpoint failed enough, begun and ended where it did, whatever else happened."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from embedrouter.ledger.incidents import THRESHOLD, Incident, Threshold, incidents, recent_incidents
from embedrouter.ledger.observed import MINUTE, MinuteCounts
from ledger.sums import NOON, SECOND, Books, books, shared_postgres
from ledger.traffic import AT, tell

__all__ = ["books", "shared_postgres"]

_NOON = NOON // SECOND
_A, _B = "one/a far/fast", "one/b far/fast"


def _minute(number: int, successes: int, failures: int = 0, limited: int = 0, endpoint: str = _A) -> MinuteCounts:
    """number: after noon."""
    return MinuteCounts(endpoint, _NOON + number * MINUTE, successes, failures, limited, 0)


def _found(*minutes: MinuteCounts, now: int = _NOON + 60 * MINUTE) -> Sequence[Incident]:
    return incidents(minutes, now)


def test_bad_minutes_near_each_other_are_one_incident() -> None:
    one, *others = _found(_minute(0, 9), _minute(1, 6, 4), _minute(3, 10), _minute(9, 1, 8, 1), _minute(10, 10))
    assert others == []
    assert one == Incident(_A, _NOON + MINUTE, _NOON + 10 * MINUTE, "errors", 30, 12, 1, 0.9)


def test_after_ten_quiet_minutes_there_is_another() -> None:
    found = _found(_minute(0, 0, 9), _minute(11, 0, 9), _minute(21, 0, 9))
    assert [(one.start - _NOON) // MINUTE for one in found] == [11, 0]
    assert [one.failures for one in found] == [18, 9]


def test_one_that_is_not_quiet_yet_goes_on() -> None:
    assert _found(_minute(0, 0, 9), now=_NOON + 10 * MINUTE)[0].end is None
    assert _found(_minute(0, 0, 9), now=_NOON + 11 * MINUTE)[0].end == _NOON + MINUTE


def test_rate_limits_are_their_own_kind() -> None:
    assert _found(_minute(0, 3, 1, 9))[0].kind == "rate_limits"


def test_a_few_failures_among_many_answers_are_none() -> None:
    assert _found(_minute(0, 100, 20), _minute(1, 2, 2), _minute(40, 4, 1)) == ()


def test_endpoints_have_their_own() -> None:
    found = _found(_minute(0, 0, 9), _minute(1, 0, 9, endpoint=_B))
    assert [one.endpoint for one in found] == [_B, _A]


_MINUTES = st.dictionaries(
    st.tuples(st.sampled_from([_A, _B]), st.integers(0, 120)),
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)),
    max_size=60,
).map(lambda found: [_minute(number, *counts, endpoint=of) for (of, number), counts in found.items()])
_THRESHOLDS = st.builds(
    Threshold,
    share=st.floats(0.05, 1.0),
    least=st.integers(1, 10),
    quiet=st.integers(1, 15).map(lambda minutes: minutes * MINUTE),
    failed=st.just(0),
)


@given(_MINUTES, _THRESHOLDS, st.randoms())
def test_every_bad_minute_is_in_one_incident_and_each_begins_and_ends_with_one(
    minutes: list[MinuteCounts], threshold: Threshold, chance: object
) -> None:
    now = _NOON + 130 * MINUTE
    found = incidents(minutes, now, threshold)
    bad = {
        (one.endpoint, one.minute)
        for one in minutes
        if (tried := sum(one[2:5])) >= threshold.least and (one.failures + one.rate_limited) / tried >= threshold.share
    }
    ends = [(one, one.end if one.end is not None else now) for one in found]
    for endpoint, minute in bad:
        assert sum(one.endpoint == endpoint and one.start <= minute < end for one, end in ends) == 1
    for one, end in ends:
        assert (one.endpoint, one.start) in bad
        inside = [minute for endpoint, minute in bad if endpoint == one.endpoint and one.start <= minute < end]
        assert (one.end is None) == (now - (max(inside) + MINUTE) < threshold.quiet)
        assert one.end in (None, max(inside) + MINUTE)
        rows = [row for row in minutes if row.endpoint == one.endpoint and one.start <= row.minute <= max(inside)]
        assert one.attempts == sum(sum(row[2:5]) for row in rows)
        assert (one.failures, one.rate_limited) == (sum(row[3] for row in rows), sum(row[4] for row in rows))
        assert threshold.share <= one.worst <= 1
        stops = sorted(inside)
        assert all(later - earlier - MINUTE < threshold.quiet for earlier, later in zip(stops, stops[1:], strict=False))
    starts = sorted((one.endpoint, one.start, end) for one, end in ends)
    for (endpoint, _, end), (other, start, _) in zip(starts, starts[1:], strict=False):
        assert endpoint != other or start - end >= threshold.quiet
    shuffled = list(minutes)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert incidents(shuffled, now, threshold) == found


def test_of_the_database_s_last_three_days(books: Books) -> None:
    tell(books, _minute(-2, 1, 9), _minute(-1, 9, 0), _minute(-3, 2, 8, endpoint=_B), _minute(-5_000, 0, 9))
    found = books.database.read_now(lambda connection: recent_incidents(connection, AT))
    assert [(one.endpoint, one.start, one.worst) for one in found] == [
        (_A, _NOON - 2 * MINUTE, 0.9), (_B, _NOON - 3 * MINUTE, 0.8),
    ]  # fmt: skip
    only = books.database.read_now(lambda connection: recent_incidents(connection, AT, [_B], THRESHOLD))
    assert only == found[1:]
