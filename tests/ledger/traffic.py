"""Two months of made-up requests, written through the writer's handlers, and the same rows to count by hand."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import pytest
from sqlalchemy import Connection

from embedrouter.accounts.keys import ApiKey
from embedrouter.ledger.apps import App, AppClaim, note
from embedrouter.ledger.attempts import Attempt, attempts_json
from embedrouter.ledger.generations import Generation
from embedrouter.ledger.health import Share, add
from embedrouter.ledger.observed import MinuteCounts, Observed, Tally
from embedrouter.ledger.rolling import Rolling
from ledger.sums import DAY, NOON, SECOND, Books, opened

T = TypeVar("T")

AT = NOON + 20 * 60 * SECOND  # now: Wednesday, 4 March 2026, 12:20 UTC
HOUR = 3_600
MODELS = ("one/a", "one/b", "two/c")
PROVIDERS = (("builtin/cpu", "Built-in"), ("far/fast", "Far"))
_REQUESTS = 500


class Traffic(NamedTuple):
    """What was written."""

    books: Books
    rows: Sequence[Generation]
    keys: Sequence[ApiKey]
    apps: Sequence[App]

    def read(self, query: Callable[[Connection], T]) -> T:
        return self.books.database.read_now(query)

    def within(self, start: int, end: int, **fields: Any) -> list[Generation]:
        """Rows from second `start` until before `end`, with these values."""
        return [
            row
            for row in self.rows
            if start <= row.created_at // SECOND < end
            and all(getattr(row, name) == value for name, value in fields.items())
        ]


def tell(books: Books, *minutes: MinuteCounts, tallies: Sequence[Tally] = ()) -> None:
    """As a process tells what it saw."""
    books.do(add, Share(f"a-process-{random.random()}", 1, Observed(minutes, tallies)))


@contextmanager
def made(url: str) -> Iterator[Traffic]:
    with opened(url) as books:
        chance = random.Random(7)
        books.new_user("user-1", "Ada")
        keys = [books.key, books.new_key("second", owner_id="user-1"), books.new_key("third", owner_id="user-1")]
        apps = [
            books.do(note, AppClaim(f"https://app{number}.example", f"App {number}" if number else None))
            for number in range(4)
        ]
        rows = [traffic_row(books, chance, keys, apps) for _ in range(_REQUESTS)]
        rolling, half = Rolling(books.writer), len(rows) // 2
        books.settle(*rows[:half])
        assert rolling.catch_up(AT - 5 * DAY, 60)
        books.settle(*rows[half:])  # of which some are late
        assert rolling.catch_up(AT - HOUR * SECOND, 60)
        yield Traffic(books, rows, keys, apps)


def traffic_row(books: Books, chance: random.Random, keys: Sequence[ApiKey], apps: Sequence[App]) -> Generation:
    """Not yet written."""
    recent = chance.random() < 0.5  # or nobody would have been there in the last hours
    at = AT - int(chance.random() * (3 if recent else 62) * DAY)
    if chance.random() < 0.2:
        at = AT - int(chance.random() * DAY / 12)
    key, model = chance.choice(keys), chance.choice(MODELS)
    kind = chance.choices(("well", "rerouted", "failed", "cancelled", "cached", "byok"), (10, 2, 2, 1, 1, 1))[0]
    endpoint, provider = chance.choice(PROVIDERS)
    first, status = {
        "rerouted": (502, 200), "failed": (504, 504), "cancelled": (499, 499),
    }.get(kind, (200, 200))  # fmt: skip
    attempts = [Attempt(provider, endpoint, model, first, 1_000)]
    if kind == "rerouted":
        attempts.append(Attempt("Other", "other", model, 200, 1_000))
    tokens = chance.randrange(1, 1000) if status == 200 and kind != "cached" else 0
    return books.generation(
        at,
        key=key,
        model=model,
        endpoint=endpoint,
        provider_name=provider,
        app_id=chance.choice([0, *(app.id for app in apps)]),
        public=chance.random() < 0.8,
        status=status,
        error_type=None if status == 200 else "timeout",
        cancelled=kind == "cancelled",
        attempts="[]" if kind == "cached" else attempts_json(attempts),
        prompt_tokens=tokens,
        cost_pico=0 if kind == "byok" else tokens * 5_000,
        is_byok=kind == "byok",
        cache_source_id="gen-0" if kind == "cached" else None,
    )


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def traffic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """Made once for SQLite and once for PostgreSQL: tests only read it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('traffic') / 'embedrouter.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    with made(url) as found:
        yield found
