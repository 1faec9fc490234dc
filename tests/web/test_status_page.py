"""/status and /status.json: what is measured, told at once, also when the database is stuck."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedrouter.catalog.builtin import builtin_model
from embedrouter.ledger.incidents import Incident
from embedrouter.ledger.observed import MinuteCounts
from embedrouter.ledger.uptime import Answers, ComponentDay
from embedrouter.routing.facts import Facts
from embedrouter.web.market.offers import Offer
from embedrouter.web.status.components import (
    Reading,
    database,
    duration,
    overall,
    provider,
    span_of,
    stories,
    strip_of,
    worst,
)
from embedrouter.web.uptime import Bar, Strip, level
from ledger.sums import Books
from ledger.traffic import tell
from postgres import PostgresServer
from server import KEY, MODEL, Server, eventually, serving, shared
from web.pages import page, tables, text

_MODEL = builtin_model("fp32")
_OFFER = Offer(model=_MODEL, endpoint=_MODEL.endpoints[0])
_DAY = date(2026, 3, 4)
_AT = int(datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp())
_STRIP = Strip(name="x", x_title="Day", bars=(), total=None)


class Site:
    """A server, and its database beside it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.books = Books(f"sqlite:///{server.data_dir / 'embedrouter.db'}", KEY)
        answer = server.get(f"/api/v1/models/{MODEL}/endpoints").json()
        self.tag: str = answer["data"]["endpoints"][0]["tag"]

    def status(self) -> dict[str, Any]:
        answer = self.server.get("/status.json")
        assert answer.status == 200
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site(shared(keep_prompts_days=93))
    yield made
    made.books.writer.close()
    made.books.database.close()


def _day(day: date, *answers: int) -> ComponentDay:
    return ComponentDay("m", "m-1", "tag", "P", day, Answers(*answers))


def test_nothing_asked_is_told_as_nothing_and_not_as_perfect(site: Site) -> None:
    told = text(page(site.server, "/status"))
    assert "Everything that is measured works" in told
    assert "No requests in the last 30 days." in told
    assert "No incident in the last three days." in told
    assert "100%" not in told


def test_requests_and_incidents_of_all_processes_are_told(site: Site) -> None:
    assert site.server.embed("works").status == 200
    minute = int(time.time()) // 60 * 60
    bad = MinuteCounts(f"{MODEL} {site.tag}", minute - 3600, 4, 12, 0, 0)
    limited = MinuteCounts(f"{MODEL} {site.tag}", minute - 120, 0, 0, 9, 0)
    elsewhere = MinuteCounts("their/model private/secret-tag", minute, 0, 9, 0, 0)
    tell(site.books, bad, limited, elsewhere)
    eventually(lambda: len(site.status()["incidents"]) == 2)
    ongoing, over = site.status()["incidents"]
    assert (ongoing["kind"], ongoing["ended_at"], ongoing["worst_minute_percent"]) == ("rate_limits", None, 100)
    assert (over["kind"], over["worst_minute_percent"]) == ("errors", 75)
    assert over["ended_at"] == datetime.fromtimestamp(minute - 3540, UTC).isoformat(timespec="milliseconds")
    source = page(site.server, "/status")
    assert "secret-tag" not in source
    rows = tables(source)[-1][1:]
    assert [row[1] for row in rows] == ["Rate limits", "Errors"]
    assert "goes on" in rows[0][3]
    assert "so far" in rows[0][4]
    assert rows[1][4:] == ["1 min", "75% failed"]
    api = next(one for one in site.status()["components"] if one["id"] == "api")
    assert (api["status"], api["days"][-1]) == ("up", {"day": str(datetime.now(UTC).date()), "uptime": 100})
    assert tables(source)[0][1][1] == "100%"


def test_a_stuck_database_is_told_in_time(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_database()
    with serving(tmp_path, database_url=url) as server:
        assert "Works" in text(page(server, "/status"))
        with psycopg.connect(url.replace("+psycopg", "")) as holder:
            holder.execute("LOCK TABLE usage, sessions IN ACCESS EXCLUSIVE MODE")
            eventually(lambda: server.get("/status.json").json()["status"] == "down")
            for cookie in ("", "embedrouter_session=" + "x" * 43):
                began = time.monotonic()
                answer = server.request("GET", "/status", headers={"Accept": "text/html", "Cookie": cookie})
                assert time.monotonic() - began < 10, "it waits for nobody"
                told = text(answer.body.decode())
                assert answer.status == 200
                assert "Database is down" in told
                assert "Uptimes and incidents are those of" in told
            holder.rollback()
        eventually(lambda: server.get("/status.json").json()["status"] == "up")


@pytest.mark.parametrize(
    ("facts", "attempts", "state"),
    [(Facts(), 0, "unknown"), (Facts(), 5, "up"), (Facts(tier="degraded"), 5, "degraded"),
     (Facts(tier="down"), 5, "down"),
     (Facts(closed=True, reason="rate_limited"), 5, "degraded"), (Facts(closed=True, reason="failing"), 5, "down")],
)  # fmt: skip
def test_a_provider_is_as_its_endpoints_are(facts: Facts, attempts: int, state: str) -> None:
    made = provider("p", "P", [Reading(_OFFER, facts, attempts)], _STRIP)
    assert made.state == state


def test_a_provider_with_one_good_endpoint_is_degraded_not_down() -> None:
    made = provider("p", "P", [Reading(_OFFER, Facts(tier="down"), 5), Reading(_OFFER, Facts(), 5)], _STRIP)
    assert made.state == "degraded"
    assert _MODEL.name in made.told


def test_the_worst_is_said_first() -> None:
    good = database("answers", failing=False)
    assert (overall([good]), worst([good])) == ("Everything that is measured works", "up")
    bad = [good, database("answers", failing=True)]
    assert (overall(bad), worst(bad)) == ("Database is down", "down")
    assert "not written" in bad[1].told
    assert "may be old" in database("silent", failing=False).told


def test_a_strip_has_every_day_and_counts_requests_not_days() -> None:
    days = [_day(date(2026, 2, 1), 10, 9, 9), _day(_DAY, 90, 90, 90), _day(_DAY, 0, 0, 0)]
    span = span_of(days, _AT * 1_000_000)
    assert (span[0], span[-1], len(span)) == (date(2026, 2, 1), _DAY, 32)
    assert len(span_of([], _AT * 1_000_000)) == 30
    strip = strip_of("P", days, span)
    assert [strip.bars[0].value, strip.bars[1].value, strip.bars[-1].value] == [90.0, None, 100.0]
    assert strip.total == 99.0
    assert strip.summary == "Uptime of P: 99% over 32 days; 1 of 2 were below 95%"
    assert [rect.height for rect in strip.rects[:2]] == [17, 2], "heights tell what colours do"
    assert strip_of("P", [], span).is_empty


@pytest.mark.parametrize(
    ("value", "found"), [(None, "none"), (100, "good"), (95, "good"), (94.99, "fair"), (85, "fair"), (84.9, "poor")]
)
def test_levels_have_their_bounds(value: float | None, found: str) -> None:
    assert level(value) == found
    assert Bar(label="x", key="x", value=value).level == found


def test_what_goes_on_is_first_and_what_nobody_may_know_is_nowhere() -> None:
    def incident(endpoint: str, start: int, end: int | None) -> Incident:
        return Incident(endpoint, start, end, "errors", 10, 9, 0, 0.9)

    found = stories(
        [incident(_OFFER.id, _AT - 100, _AT - 40), incident(_OFFER.id, _AT - 9_000, None), incident("x y", _AT, None)],
        [_OFFER],
        _AT * 1_000_000,
    )
    assert [(one.end is None, one.duration) for one in found] == [(True, "2 h 30 min"), (False, "1 min")]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(60, "1 min"), (3599, "59 min"), (3600, "1 h"), (7500, "2 h 5 min"), (86_400, "1 d"), (97_200, "1 d 3 h")],
)
def test_durations_are_short(seconds: int, told: str) -> None:
    assert duration(seconds) == told
