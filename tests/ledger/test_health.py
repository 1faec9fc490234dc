"""Processes tell each other how endpoints are: each count once, each pause in time, nothing lost with the database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Table, func, insert, select

from embedrouter.errors import EmbedRouterError
from embedrouter.ledger.health import MARK, HealthSharing, Share, add
from embedrouter.ledger.observed import MinuteCounts, Observed, Tally
from embedrouter.ledger.retention import Retention
from embedrouter.routing.health import CREDENTIAL, Health, Outcome
from embedrouter.settings import Settings
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate
from embedrouter.store.tables import health_histograms, health_minutes, health_pauses, marks
from postgres import PostgresServer
from routing.clock import NOON, A, Clock, seen

_DAY = 86_400


class _Process(NamedTuple):
    health: Health
    sharing: HealthSharing
    database: Database
    writer: Writer

    def requests(self, seconds: float = _DAY) -> int:
        return self.health.request_count(A, seconds)

    def do(self, handler: Any, payload: Any, *, again: bool = False) -> Any:
        def repeated(batch: Batch, payloads: Sequence[Any]) -> Any:
            return handler(batch._replace(again=again), payloads)

        return self.writer.submit(repeated, payload).result(60)

    def rows(self, table: Table) -> int:
        return int(
            self.database.read_now(lambda known: known.execute(select(func.count()).select_from(table)).scalar_one())
        )


@contextmanager
def _process(url: str, name: str, clock: Clock) -> Iterator[_Process]:
    database = Database(url)
    migrate(database)
    writer = Writer(database)
    health = Health(clock, jitter=lambda: 0.0)
    try:
        yield _Process(health, HealthSharing(database, writer, health, name), database, writer)
    finally:
        writer.close()
        database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON + 5)


@pytest.fixture
def one(database_url: str, clock: Clock) -> Iterator[_Process]:
    with _process(database_url, "one", clock) as process:
        yield process


@pytest.fixture
def two(database_url: str, clock: Clock) -> Iterator[_Process]:
    with _process(database_url, "two", clock) as process:
        yield process


def _turns(*processes: _Process, times: int = 2) -> None:
    for _ in range(times):
        for process in processes:
            process.sharing.turn()


def test_each_sees_what_the_other_counted_once(one: _Process, two: _Process, clock: Clock) -> None:
    for minute in range(3):
        seen(one.health, times=6, tokens=3)
        _turns(one, two)
        seen(two.health, "server", 4)
        seen(one.health, "rate_limited")
        _turns(two, one, times=3)
        assert one.health.minutes(A) == two.health.minutes(A)
        assert one.health.minutes(A)[-1][1:] == (6, 4, 1, 18)
        assert one.requests() == two.requests() == 11 * (minute + 1)
        clock.pass_(60)
    _turns(one, two)
    assert one.requests() == two.requests() == 33


def test_an_outage_that_one_sees_is_the_other_s_at_its_next_look(one: _Process, two: _Process) -> None:
    _turns(one, two)
    seen(one.health, "timeout", 3)
    assert not two.health.facts(A).outage
    _turns(one, two, times=1)
    assert two.health.facts(A).outage


def test_what_was_before_the_start_is_no_outage(one: _Process, two: _Process) -> None:
    seen(one.health, "timeout", 3)
    _turns(one, times=1)
    _turns(two)
    assert two.requests() == 3
    assert not two.health.facts(A).outage


def test_what_a_long_silence_hid_is_no_outage(one: _Process, two: _Process) -> None:
    """The failures may be a minute old, and over."""
    _turns(one, two)
    seen(one.health, "timeout", 3)
    _turns(one, times=1)
    two.sharing._looked_at -= 60
    _turns(two)
    assert two.requests() == 3
    assert not two.health.facts(A).outage


def test_histograms_are_told_when_their_minute_is_over(one: _Process, two: _Process, clock: Clock) -> None:
    _turns(one, two)
    seen(one.health, times=9, seconds=0.1)
    seen(two.health, times=1, seconds=5.0)
    _turns(one, two)
    assert two.health.percentiles(A, "latency", 300) != one.health.percentiles(A, "latency", 300)
    clock.pass_(60)
    _turns(one, two, times=1)
    _look_widely(one, two)
    latency, throughput = (one.health.percentiles(A, measure, 300) for measure in ("latency", "throughput"))
    assert latency is not None
    assert throughput is not None
    assert 0.09 < latency.p90 < 0.11
    assert 4.5 < latency.p99 < 5.5
    assert throughput.p99 < 2.3
    for measure in ("latency", "throughput"):
        for seconds in (300, 1_800, _DAY):
            wanted = latency if measure == "latency" else throughput
            assert one.health.percentiles(A, measure, seconds) == two.health.percentiles(A, measure, seconds) == wanted


def _look_widely(*processes: _Process) -> None:
    """As after a minute."""
    for _ in range(2):
        for process in processes:
            process.sharing._wide_at = -1e9
            process.sharing.turn()


@pytest.mark.parametrize("closing", [False, True])
def test_who_starts_later_knows_the_last_day(one: _Process, two: _Process, clock: Clock, closing: bool) -> None:
    for _ in range(4):
        seen(one.health, times=20, seconds=0.2)
        seen(one.health, "server", times=20)
        one.sharing.turn()
        clock.pass_(5 * 3_600)
    seen(one.health, times=10, seconds=0.01)
    if closing:
        one.sharing.close()
    else:
        clock.pass_(60)
        one.sharing.turn()
    two.sharing.load()
    assert two.health.minutes(A) == one.health.minutes(A)
    assert two.health.uptime(A, _DAY) == one.health.uptime(A, _DAY) == 20.0
    for seconds in (300, 1_800, _DAY):
        assert two.health.percentiles(A, "latency", seconds) == one.health.percentiles(A, "latency", seconds)
    _look_widely(one, two)
    assert two.requests() == one.requests() == 170


def test_pauses_travel_and_end_with_their_time(one: _Process, two: _Process, clock: Clock) -> None:
    _turns(one, two)
    seen(one.health, "rate_limited", retry_after=40)
    seen(one.health, "server", 5, endpoint="author/model two")
    one.health.record_credential("c1", Outcome("unauthorized", 0.1))
    one.health.record_credential("c2", Outcome("rate_limited", 0.1, 0, 25))
    _turns(one, two, times=1)
    limited, failing = two.health.facts(A), two.health.facts("author/model two")
    assert (limited.closed, limited.reason, failing.closed, failing.reason) == (True, "rate_limited", True, "failing")
    assert limited.retry_after == pytest.approx(40, abs=5)
    assert two.health.credential_pause("c1") == pytest.approx(600, abs=5)
    assert two.health.credential_pause("c2") == pytest.approx(25, abs=5)
    clock.pass_(41)
    _turns(one, two)
    assert not two.health.facts(A).closed
    assert two.health.may_try("author/model two")
    assert not two.health.may_try("author/model two")  # half-open, as at home
    assert not two.health.credential_ready("c1")
    assert two.health.credential_ready("c2")


def test_the_next_pause_is_longer_by_whomever(one: _Process, two: _Process, clock: Clock) -> None:
    _turns(one, two)
    seen(one.health, "server", 5)
    clock.pass_(1)
    seen(one.health, "server")
    _turns(one, two, times=1)
    clock.pass_(2.1)
    assert two.health.may_try(A)
    seen(two.health, "server")
    assert two.health.facts(A).retry_after == pytest.approx(4)


def test_a_longer_pause_is_not_shortened_by_another_s(one: _Process, two: _Process) -> None:
    _turns(one, two)
    seen(one.health, "rate_limited", retry_after=50)
    seen(two.health, "rate_limited", retry_after=5)
    _turns(one, two)
    for process in (one, two):
        assert process.health.facts(A).retry_after == pytest.approx(50, abs=5)


def test_a_lifted_credential_is_used_everywhere(one: _Process, two: _Process) -> None:
    _turns(one, two)
    one.health.record_credential("c1", Outcome("unauthorized", 0.1))
    _turns(one, two)
    assert not two.health.credential_ready("c1")
    two.health.lift_credential("c1")
    _turns(two, one)
    assert one.health.credential_ready("c1")
    assert two.health.credential_ready("c1")


def test_nothing_is_written_when_nothing_happened(one: _Process) -> None:
    seen(one.health)
    _turns(one)
    commits = one.writer.commits
    _turns(one, times=5)
    assert one.writer.commits == commits
    seen(one.health)
    seen(one.health, "server", 5)
    _turns(one, times=5)
    assert one.writer.commits == commits + 1


def test_a_second_try_adds_nothing_and_the_next_share_does(one: _Process) -> None:
    minute = MinuteCounts(A, int(NOON), 5, 1, 0, 10)
    share = Share("three", 100, Observed([minute], [Tally(A, int(NOON), "latency", 7, 5)]))
    one.do(add, share)
    one.do(add, share, again=True)
    one.do(add, share)  # a later turn, after the first try's answer was lost
    one.do(add, share._replace(number=101))
    one.sharing.load()
    assert one.health.minutes(A)[0][1:] == (10, 2, 0, 20)


def test_while_the_database_is_away_nothing_is_lost_or_doubled(
    postgres: PostgresServer, postgres_url: str, clock: Clock
) -> None:
    with _process(postgres_url, "one", clock) as one, _process(postgres_url, "two", clock) as two:
        _turns(one, two)
        seen(one.health, times=3)
        _turns(one, two)
        postgres.kill()
        for _ in range(3):
            seen(one.health, times=2)
            with pytest.raises(EmbedRouterError):
                one.sharing.turn()
            clock.pass_(600)
        seen(one.health, times=1)
        assert one.requests() == 10
        postgres.start()
        _until_it_turns(one)
        _until_it_turns(two)
        two.sharing._away_at = two.sharing._looked_at  # it noticed
        _turns(one, two)
        _look_widely(one, two)
        assert one.requests() == two.requests() == 10
        assert one.rows(health_minutes) == 4


def _until_it_turns(process: _Process) -> None:
    for _ in range(20):
        try:
            process.sharing.turn()
        except EmbedRouterError:
            continue
        return
    process.sharing.turn()


def test_an_endpoint_whose_name_no_row_holds_does_not_keep_the_others_from_being_told(one: _Process) -> None:
    seen(one.health, endpoint="x" * 300)
    seen(one.health)
    one.sharing.close()
    assert one.rows(health_minutes) == 1


def test_what_is_older_than_three_days_goes(one: _Process) -> None:
    old, new = int(NOON) - 3 * _DAY - 60, int(NOON) - 2 * _DAY
    for index, minute in enumerate((old, new)):
        seen_then = Observed([MinuteCounts(A, minute, 1, 0, 0, 1)], [Tally(A, minute, "latency", 1, 1)])
        one.do(add, Share(f"process {index}", minute * 1_000_000, seen_then))

    one.do(_pause, old)
    one.do(_pause, new)
    one.do(_mark, "something_else")
    assert Retention(one.writer, Settings()).prune(int(NOON) * 1_000_000, 60)
    assert [one.rows(table) for table in (health_minutes, health_histograms, health_pauses)] == [1, 1, 1]
    names = one.database.read_now(lambda known: known.execute(select(marks.c.name)).scalars().all())
    assert f"{MARK}process 1" in names
    assert f"{MARK}process 0" not in names
    assert "something_else" in names


def _pause(batch: Batch, times: Sequence[int]) -> Sequence[None]:
    for at in times:
        row = {"subject": f"{CREDENTIAL}{at}", "until": at * 1_000_000, "failures": 1, "reason": "failing"}
        batch.connection.execute(insert(health_pauses), {**row, "updated_at": at * 1_000_000})
    return [None] * len(times)


def _mark(batch: Batch, names: Sequence[str]) -> Sequence[None]:
    batch.connection.execute(insert(marks), [{"name": name, "value": 1} for name in names])
    return [None] * len(names)
