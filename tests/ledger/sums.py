"""A database with generations in it, and short words to ask for their sums."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, func, insert, select

from embedrouter.accounts import first, keys
from embedrouter.accounts.keys import ApiKey, NewKey, digest_of, new_secret
from embedrouter.ledger import analytics, generations
from embedrouter.ledger.analytics import Found, Query
from embedrouter.ledger.comparing import Finding
from embedrouter.ledger.credits import ACCOUNT
from embedrouter.ledger.doctor import examine
from embedrouter.ledger.generations import Generation, Settlement
from embedrouter.ledger.payer import Payer
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate
from embedrouter.store.tables import metadata, users, workspaces
from postgres import PostgresServer

SECOND = 1_000_000
DAY = 86_400 * SECOND
NOON = 1_772_625_600 * SECOND  # Wednesday, 4 March 2026, 12:00 UTC
OTHER_WORKSPACE = "00000000-0000-4000-8000-000000000002"


def time_of(text: str) -> int:
    """Microseconds of an ISO time; of UTC, if it has no offset."""
    found = datetime.fromisoformat(text)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()) * SECOND


class Books:
    """A database whose generations are settled as the gateway settles them."""

    def __init__(self, url: str, api_key: str = "a-key-of-the-operator", *, empty: bool = False) -> None:
        """api_key: the environment's, of a server that uses the same database."""
        self.database = Database(url)
        migrate(self.database)
        self.writer = Writer(self.database)
        if empty:
            self.empty()
        first.prepare(self.writer, first.Wanted(api_key, None, False, Path("/nonexistent")))
        self._numbers = itertools.count()
        self.key = self.new_key("main")

    def empty(self) -> None:
        """Remove every row there is."""

        def write(batch: Batch, _: Sequence[None]) -> Sequence[None]:
            for table in reversed(metadata.sorted_tables):
                batch.connection.execute(delete(table))
            return [None]

        self.do(write, None)

    def do(self, handler: Any, payload: Any) -> Any:
        return self.writer.submit(handler, payload).result(60)

    def new_key(self, name: str, workspace_id: str = first.WORKSPACE, **fields: Any) -> ApiKey:
        secret = new_secret()
        made: ApiKey = self.do(
            keys.create, NewKey(digest_of(secret), "sk-...", name, "api", NOON, workspace_id, **fields)
        )
        return made

    def add(self, table: Table, *rows: Mapping[str, Any]) -> None:
        def write(batch: Batch, _: Sequence[None]) -> Sequence[None]:
            batch.connection.execute(insert(table), list(rows))
            return [None]

        self.do(write, None)

    def new_user(self, id_: str, name: str) -> None:
        self.add(users, {"id": id_, "email": f"{id_}@example.org", "name": name, "password_hash": "", "role": "member",
                         "disabled": False, "created_at": NOON, "updated_at": NOON})  # fmt: skip

    def new_workspace(self, id_: str = OTHER_WORKSPACE, name: str = "Other") -> None:
        self.add(workspaces, {"id": id_, "name": name, "slug": name.lower(), "in_rankings": True, "created_at": NOON,
                              "updated_at": NOON})  # fmt: skip

    def generation(self, at: int = NOON, *, key: ApiKey | None = None, **fields: Any) -> Generation:
        """A row, not yet written."""
        paid = key or self.key
        tokens = fields.get("prompt_tokens", 10)
        model = fields.pop("model", "model-a")
        values: dict[str, Any] = {
            "id": f"gen-{next(self._numbers)}",
            "created_at": at,
            "key_id": paid.id,
            "workspace_id": paid.workspace_id,
            "owner_id": paid.owner_id,
            "app_id": 0,
            "public": True,
            "api_type": "embeddings",
            "model": model,
            "model_permaslug": f"{model}-2026",
            "endpoint": "builtin/cpu",
            "provider_name": "builtin",
            "status": 200,
            "error_type": None,
            "cancelled": False,
            "inputs": 1,
            "prompt_tokens": tokens,
            "cost_pico": tokens * 5_000 if fields.get("status", 200) == 200 else 0,
            "is_byok": False,
            "latency_us": 2_000,
            "generation_us": 1_000,
            "attempts": "[]",
            "origin": "",
            "http_referer": None,
            "user_agent": None,
            "external_user": None,
            "session_id": None,
            "request_id": None,
            "cache_source_id": None,
        }
        return Generation(**{**values, **fields})

    def settle(self, *rows: Generation, prompt: str | None = None) -> None:
        """Write generations with their charges."""
        done = [
            self.writer.submit(
                generations.settle, Settlement(row, Payer(row.key_id, row.workspace_id, ACCOUNT), prompt=prompt)
            )
            for row in rows
        ]
        for one in done:
            one.result(60)

    def used(self, at: int = NOON, **fields: Any) -> Generation:
        """A generation, written."""
        row = self.generation(at, **fields)
        self.settle(row)
        return row

    def ask(self, *metrics: str, start: int = NOON - 30 * DAY, end: int = NOON + DAY, **fields: Any) -> Found:
        return self.database.read_now(
            lambda connection: analytics.run(connection, Query(metrics or ("request_count",), start, end, **fields))
        )

    def count(self, table: Table) -> int:
        return self.database.read_now(
            lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one()
        )

    def findings(self) -> list[Finding]:
        return self.database.read_now(examine).findings


@contextmanager
def opened(url: str, *, empty: bool = False) -> Iterator[Books]:
    """Books that are closed at the end. empty: of a database that others have used before."""
    made = Books(url, empty=empty)
    try:
        yield made
    finally:
        made.writer.close()
        made.database.close()


@pytest.fixture(scope="session")
def shared_postgres(postgres: PostgresServer) -> str:
    """SQLAlchemy's URL of a PostgreSQL database that tests use one after another: making one takes longer than they."""
    return postgres.create_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """Opened books without generations: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'embedrouter.db'}"
    else:
        url = request.getfixturevalue("shared_postgres")
    with opened(url, empty=True) as made:
        yield made
