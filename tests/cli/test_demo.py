"""The demo: what it fills, that the books agree, and what it leaves alone."""

import asyncio
from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, case, func, select

from cli.commands import Commands
from embedrouter.accounts import users
from embedrouter.accounts.caller import Gatekeeper
from embedrouter.accounts.passwords import Passwords
from embedrouter.accounts.ring import KeyRing
from embedrouter.catalog.models import endpoint_id
from embedrouter.demo import traffic
from embedrouter.demo.market import market
from embedrouter.demo.scene import APPS, INCIDENTS, PEOPLE, PLACES
from embedrouter.demo.traffic import Played
from embedrouter.demo.weather import HOUR, Span
from embedrouter.errors import AuthenticationError
from embedrouter.ledger.credits import balance
from embedrouter.ledger.health import HealthSharing
from embedrouter.periods import DAY, SECOND
from embedrouter.routing.health import Health
from embedrouter.settings import load
from embedrouter.store import Database, Writer
from embedrouter.store.demo import is_demo
from embedrouter.store.tables import apps, generations, usage

_SPAN = Span(1_772_625_600 * SECOND, 30)  # until 2026-03-04T12:00Z
_REQUESTS = 700


def _numbers(database: Database) -> tuple[int, ...]:
    """Requests, failures, tokens, pico-USD and microseconds, as the generations say; as usage does."""
    names = ("prompt_tokens", "cost_pico", "latency_us")
    failed = func.count(case((generations.c.status != 200, 1)))
    made = select(func.count(generations.c.id), failed, *(func.sum(generations.c[name]) for name in names))
    told = select(*(func.sum(usage.c[name]) for name in ("requests", "failures", *names)))

    def read(connection: Connection) -> list[tuple[int, ...]]:
        return [tuple(int(value) for value in connection.execute(query).one()) for query in (made, told)]

    of_generations, of_usage = database.read_now(read)
    assert of_generations == of_usage
    return of_generations


def test_a_demo_is_whole_marked_and_made_once(commands: Commands) -> None:
    made: Any = commands.json("demo", "--requests", str(_REQUESTS))
    assert made["requests"] == _REQUESTS
    found = commands.json("doctor")
    assert (found["clean"], found["generations"], found["warnings"]) == (True, _REQUESTS, [])

    database = Database(commands.url)
    assert database.read_now(is_demo)
    before = _numbers(database)
    assert before[0] == _REQUESTS
    assert before[2] > 0
    names = database.read_now(lambda connection: list(connection.execute(select(apps.c.title)).scalars()))
    assert sorted(names) == sorted(app.title for app in APPS)
    assert database.read_now(balance).available_pico > 0
    _may_enter(database, made)
    _has_health(commands, database)

    again = commands("demo", "--requests", "10").refusal()
    assert "holds demo data already" in again
    assert "--data-dir" in again
    assert _numbers(database) == before
    database.close()


def _may_enter(database: Database, made: Any) -> None:
    """People by their passwords, and keys that are still good."""
    passwords = Passwords()
    for person, told in zip(PEOPLE, made["users"], strict=True):
        known = database.read_now(partial(users.find_by_email, email=told["email"]))
        assert known is not None
        assert (known.user.name, known.user.role) == (person.name, person.role)
        assert asyncio.run(passwords.check(known.password_hash, told["password"])).right
    passwords.close()
    ring = KeyRing(database)
    ring.load()
    gatekeeper, now = Gatekeeper(ring, "track"), 4_000_000_000 * SECOND
    for key in made["keys"]:
        if key["usable"]:
            assert gatekeeper.admit(key["key"], now).key.name == key["name"]
        else:
            with pytest.raises(AuthenticationError):
                gatekeeper.admit(key["key"], now)


def _has_health(commands: Commands, database: Database) -> None:
    """A server that starts on it knows every provider's uptime and latency, and none is paused."""
    health, writer = Health(), Writer(database)
    HealthSharing(database, writer, health, "a server").load()
    writer.close()
    settings = load({"database_url": commands.url, "data_dir": commands.folder}, {}, None)
    uptimes = {}
    for place, (model, endpoint) in market(database, settings).items():
        name = endpoint_id(model, endpoint)
        uptimes[place] = health.uptime(name, 3 * DAY)
        assert health.percentiles(name, "latency", DAY) is not None
        assert health.percentiles(name, "throughput", 1_800) is not None
        assert not health.facts(name).closed
    assert None not in uptimes.values()
    assert len(uptimes) == len(PLACES)


def test_what_is_no_demo_is_left_alone(here: Commands) -> None:
    created = here("users", "create", "eve@example.org", "--password-stdin", typed="a long enough password\n")
    assert created.status == 0
    assert "holds 1 users that are no demo" in here("demo", "--requests", "10").refusal()
    database = Database(here.url)
    assert not database.read_now(is_demo)
    assert [user.email for user in database.read_now(users.list_users)] == ["eve@example.org"]
    database.close()


def test_generations_that_are_no_demo_are_told(commands: Commands) -> None:
    commands.json("demo", "--requests", "10", "--days", "1")
    database = Database(commands.url)
    with database.write_engine.begin() as connection:  # as if they were real
        connection.exec_driver_sql("DELETE FROM marks WHERE name = 'demo'")
    assert "holds 10 generations that are no demo" in commands("demo").refusal()
    database.close()


def test_the_same_seed_plays_the_same() -> None:
    first, same, other = (list(traffic.requests(_SPAN, 500, seed)) for seed in (1, 1, 2))
    assert first == same
    assert first != other
    assert len(first) == 500
    assert len({one.id for one in first}) == 500
    assert all(earlier.at <= later.at for earlier, later in pairwise(first))
    assert _SPAN.start <= first[0].at <= first[-1].at < _SPAN.end
    assert list(traffic.pulses(Span(_SPAN.end, 1), 1)) == list(traffic.pulses(Span(_SPAN.end, 1), 1))


@pytest.fixture(scope="module")
def month() -> list[Played]:
    return list(traffic.requests(_SPAN, 40_000, 1))


def test_a_month_has_all_that_pages_show(month: list[Played]) -> None:
    statuses = Counter(one.status for one in month)
    assert set(statuses) == {200, 429, 499, 502, 504}
    assert statuses[200] > 0.98 * len(month)
    assert all(one.tokens == 0 for one in month if one.status != 200 or one.source)
    ids = {one.id for one in month}
    assert {one.source for one in month if one.source} < ids
    assert any(one.status == 200 and len({tried.place.provider for tried in one.tries}) > 1 for one in month)
    days = Counter((one.at - _SPAN.start) // (24 * HOUR) for one in month)
    assert set(days) == set(range(30))
    assert sum(days[day] for day in range(23, 30)) > 1.5 * sum(days[day] for day in range(7))
    assert {one.stream.app for one in month} == {None, *(app.url for app in APPS)}
    assert {tried.place for one in month for tried in one.tries} == set(PLACES)


def test_a_failing_provider_is_replaced_by_another(month: list[Played]) -> None:
    failing = next(one for one in INCIDENTS if one.provider == "openai" and one.trouble == "failing")
    begun = _SPAN.end - int(failing.days_ago * DAY) * SECOND
    ended = begun + int(failing.hours * HOUR)
    asked = [one for one in month if begun <= one.at < ended and one.tries and one.tries[0].place.provider == "openai"]
    assert len(asked) > 10
    answered = [one for one in asked if one.status == 200 and one.tries[-1].place.provider == "azure"]
    assert len(answered) > 0.7 * len(asked)
