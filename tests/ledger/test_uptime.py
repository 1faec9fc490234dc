"""Uptimes and speeds by the hour, beside the same counted by hand."""

from collections.abc import Callable, Iterable
from datetime import date

from sqlalchemy import Connection

from embedrouter.ledger import performance, uptime
from embedrouter.ledger.attempts import Attempt, attempts_json
from embedrouter.ledger.generations import Generation, Settlement, void
from embedrouter.ledger.observed import Tally
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.scales import GROWTH, LATENCY, THROUGHPUT
from embedrouter.ledger.uptime import Answers
from ledger.sums import NOON, SECOND, Books, books, shared_postgres
from ledger.traffic import AT, HOUR, MODELS, Traffic, tell

__all__ = ["books", "shared_postgres"]

_NOON = NOON // SECOND
_END = _NOON + HOUR
_A, _B = "one/a far/fast", "one/b far/fast"


def _answers(rows: Iterable[Generation]) -> Answers:
    counted = [row for row in rows if not row.cancelled and row.cache_source_id is None]
    well = [row for row in counted if row.status == 200]
    return Answers(len(counted), len(well), sum('"status":502' not in row.attempts for row in well))


def test_a_model_s_hours_with_and_without_routing(traffic: Traffic) -> None:
    model = f"{MODELS[0]}-2026"
    found = traffic.read(lambda connection: uptime.model_hours_of(connection, model, AT))
    assert [one.start for one in found] == [_END - HOUR * back for back in range(72, 0, -1)]
    for one in found:
        assert one.answers == _answers(traffic.within(one.start, one.start + HOUR, model_permaslug=model))
    assert any(one.answers.with_routing != one.answers.without_routing for one in found)
    assert any(one.answers.with_routing is None for one in found)
    together = uptime.availability(one.answers for one in found)
    assert together == _answers(traffic.within(_END - 72 * HOUR, _END, model_permaslug=model))
    assert together.answered > together.answered_first > 0


def test_days_of_every_model_at_every_endpoint(traffic: Traffic) -> None:
    found = traffic.read(lambda connection: uptime.component_days(connection, AT, 90))
    for one in found:
        start = (one.day - date(1970, 1, 1)).days * 86_400
        rows = traffic.within(start, start + 86_400, model_permaslug=one.model_permaslug, endpoint=one.endpoint)
        assert one.answers == _answers(rows)
        assert (one.model, one.provider_name) == (rows[0].model, rows[0].provider_name)
    assert len({(one.model, one.endpoint) for one in found}) == 6
    assert uptime.availability(one.answers for one in found) == _answers(traffic.rows)


def test_what_is_taken_back_was_never_counted(books: Books) -> None:
    attempts = [Attempt("a", "a", "m", 502, 1), Attempt("b", "b", "m", 200, 1)]
    row = books.used(attempts=attempts_json(attempts))
    read = books.database.read_now
    assert uptime.availability(one.answers for one in read(_hours_of(row))) == (1, 1, 0)
    books.do(void, Settlement(row, Payer(row.key_id, row.workspace_id, "main")))
    assert uptime.availability(one.answers for one in read(_hours_of(row))) == (0, 0, 0)
    assert books.findings() == []


def _hours_of(row: Generation) -> Callable[[Connection], tuple[uptime.ModelHour, ...]]:
    return lambda connection: uptime.model_hours_of(connection, row.model_permaslug, AT)


def test_nobody_asked_is_no_uptime() -> None:
    assert uptime.availability([]) == Answers()
    assert Answers().with_routing is None
    assert Answers().without_routing is None
    assert uptime.uptime(0, 0) is None
    assert uptime.uptime(3, 1) == 75.0


def test_speeds_by_the_hour(books: Books) -> None:
    values = [0.010] * 50 + [0.100] * 40 + [2.0] * 10
    tallies = [
        Tally(_A, _NOON + 60 * (index % 5), "latency", LATENCY.bucket(value), 1) for index, value in enumerate(values)
    ]
    together: dict[Tally, int] = {}
    for tally in tallies:
        together[tally] = together.get(tally, 0) + 1
    rates = [Tally(_A, _NOON, "throughput", THROUGHPUT.bucket(value), 1) for value in (100.0, 1_000.0, 10_000.0)]
    told = [tally._replace(values=count) for tally, count in together.items()]
    tell(books, tallies=[*told, *rates, Tally(_B, _NOON - 30 * HOUR, "latency", 3, 1)])
    found = books.database.read_now(lambda connection: performance.performance_hours(connection, [_A, _B], AT))
    assert len(found) == 48
    now = found[23]
    assert (now.endpoint, now.start, now.answers) == (_A, _NOON, 100)
    assert now.latency is not None
    assert now.throughput_p50 is not None
    for value, wanted in zip((*now.latency, now.throughput_p50), (0.010, 0.100, 2.0, 1_000.0), strict=True):
        assert wanted / GROWTH < value < wanted * GROWTH
    assert all((one.answers, one.latency, one.throughput_p50) == (0, None, None) for one in found if one is not now)


def test_a_day_read_in_two_parts_is_the_day(books: Books) -> None:
    """As a model's page reads it: what is over, and the last two hours."""
    tell(books, tallies=[Tally(_A, _NOON - ago * HOUR, "latency", 3 + ago % 7, ago + 1) for ago in range(30)])

    def read(at: int, count: int) -> tuple[performance.PerformanceHour, ...]:
        return books.database.read_now(lambda connection: performance.performance_hours(connection, [_A], at, count))

    assert (*read(AT - 2 * HOUR * SECOND, 22), *read(AT, 2)) == read(AT, 24)
