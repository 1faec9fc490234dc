"""A database with its writer, and short words for what tests do with money."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, delete, func, select, update

from embedrouter.accounts import first, keys
from embedrouter.accounts.keys import ApiKey, NewKey, digest_of, new_secret
from embedrouter.accounts.ring import KeyRing
from embedrouter.ledger import generations, holds
from embedrouter.ledger.attempts import Attempt, attempts_json
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.comparing import Finding
from embedrouter.ledger.credits import ACCOUNT, Balance, Credit
from embedrouter.ledger.credits import add as add_credit
from embedrouter.ledger.credits import balance as balance_of
from embedrouter.ledger.doctor import examine
from embedrouter.ledger.generations import Generation, Settlement
from embedrouter.ledger.holds import Hold
from embedrouter.ledger.payer import Payer
from embedrouter.periods import Period, start_of
from embedrouter.settings import Durability
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate
from embedrouter.store.tables import budgets, instances, metadata, spending
from embedrouter.store.tables import generations as generations_table
from embedrouter.store.tables import holds as holds_table

INSTANCE = "test"


def time_of(text: str) -> int:
    """Microseconds of an ISO time with its offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


NOON = time_of("2026-03-04T12:00:00+00:00")  # a Wednesday


class Books:
    """An opened database. `close` ends its writer; what was written stays."""

    def __init__(self, url: str, *, durability: Durability = "commit") -> None:
        self.url = url
        self.database = Database(url, durability=durability)
        migrate(self.database)
        self.writer = Writer(self.database)
        self._prepare()

    def _prepare(self) -> None:
        first.prepare(self.writer, first.Wanted("sk-a-key-of-the-tests", None, False, Path("/nonexistent")))

    def empty(self) -> None:
        """As a first start leaves it."""

        def write(batch: Batch, _: Sequence[None]) -> Sequence[None]:
            for table in reversed(metadata.sorted_tables):
                batch.connection.execute(delete(table))
            return [None]

        self.do(write, None)
        self._prepare()

    def close(self) -> None:
        self.writer.close()
        self.database.close()

    def do(self, handler: Any, payload: Any, *, again: bool = False) -> Any:
        """Have one thing written; its result, or its exception raised. again: as after a connection that broke."""

        def repeated(batch: Batch, payloads: Sequence[Any]) -> Sequence[Any]:
            answers: Sequence[Any] = handler(batch._replace(again=True), payloads)
            return answers

        return self.writer.submit(repeated if again else handler, payload).result(60)

    def key(self, **limits: Any) -> ApiKey:
        secret = new_secret()
        wanted = NewKey(digest_of(secret), "sk-...", "of a test", "api", NOON, first.WORKSPACE, **limits)
        made: ApiKey = self.do(keys.create, wanted)
        return made

    def change(self, key: ApiKey, **values: Any) -> ApiKey:
        changed: ApiKey = self.do(keys.change, keys.KeyChange(key.hash, values, NOON))
        return changed

    def payer(self, key: ApiKey, *, enforce: bool = False, budget: tuple[Period, ...] = ()) -> Payer:
        """Whom the gatekeeper makes of a key."""
        ring = KeyRing(self.database)
        ring.load()
        known = {found.hash: found for found in ring._by_digest.values()}[key.hash]
        assert ring.workspace(known).budgets == budget
        return Payer(
            key_id=known.id,
            workspace_id=known.workspace_id,
            account_id=ACCOUNT,
            key_limit=None if known.limit_pico is None else known.limit_reset or "total",
            budgets=budget,
            enforce_balance=enforce,
            requests_per_minute=known.requests_per_minute,
            tokens_per_minute=known.tokens_per_minute,
            max_concurrent=known.max_concurrent,
        )

    def credit(self, amount: int, *, kind: Any = "top_up", key: str | None = None, at: int = NOON) -> Any:
        return self.do(add_credit, Credit(kind, amount, "a test", "because", at, key))

    def budget(self, period: Period, limit: int) -> None:
        def write(batch: Batch, _: Sequence[None]) -> Sequence[None]:
            row = {"workspace_id": first.WORKSPACE, "period": period, "limit_pico": limit}
            batch.connection.execute(batch.database.insert(budgets), row)
            return [None]

        self.do(write, None)

    def budget_gone(self) -> None:
        def write(batch: Batch, _: Sequence[None]) -> Sequence[None]:
            batch.connection.execute(delete(budgets))
            return [None]

        self.do(write, None)

    def age(self, instance: str, microseconds: int) -> None:
        """Make a process look as if it had not been seen for so long."""

        def write(batch: Batch, _: Sequence[None]) -> Sequence[None]:
            older = update(instances).where(instances.c.id == instance)
            batch.connection.execute(older.values(seen_at=instances.c.seen_at - microseconds))
            return [None]

        self.do(write, None)

    def hold(
        self,
        payer: Payer,
        amount: int | Amount,
        at: int = NOON,
        *,
        tokens: int = 1,
        again: bool = False,
        name: str = "",
    ) -> Hold:
        """A granted hold, or what refuses it raised."""
        granted: Hold = self.do(holds.hold, wanted(payer, amount, at, tokens=tokens, name=name), again=again)
        return granted

    def release(self, hold: Hold) -> None:
        self.do(holds.release, hold.id)

    def settle(
        self, hold: Hold, cost: int | None = None, *, upstream: int = 0, again: bool = False, status: int = 200
    ) -> None:
        """Settle a hold for its whole amount, or for `cost`, and what own credentials paid for."""
        self.do(generations.settle, settlement(hold, cost, upstream=upstream, status=status), again=again)

    def balance(self) -> Balance:
        return self.database.read_now(balance_of)

    def spent(self, scope: str, scope_id: str, period: Period = "total", at: int = NOON) -> tuple[int, int]:
        """Spent and held."""
        query = select(spending.c.spent_pico, spending.c.held_pico).where(
            spending.c.scope == scope,
            spending.c.scope_id == scope_id,
            spending.c.period == period,
            spending.c.start == start_of(period, at),
        )
        row = self.database.read_now(lambda connection: connection.execute(query).one_or_none())
        return (0, 0) if row is None else (row[0], row[1])

    def held_rows(self) -> int:
        return self._count(holds_table)

    def generations(self) -> int:
        return self._count(generations_table)

    def _count(self, table: Table) -> int:
        query = select(func.count()).select_from(table)
        return int(self.database.read_now(lambda connection: connection.execute(query).scalar_one()))

    def findings(self) -> list[Finding]:
        """What the doctor finds."""
        return self.database.read_now(examine).findings


@contextmanager
def opened(url: str, *, durability: Durability = "commit") -> Iterator[Books]:
    """Books that are closed at the end."""
    made = Books(url, durability=durability)
    try:
        yield made
    finally:
        made.close()


def wanted(payer: Payer, amount: int | Amount, at: int = NOON, *, tokens: int = 1, name: str = "") -> Hold:
    """A request for a hold."""
    amount = amount if isinstance(amount, Amount) else Amount(amount)
    return Hold(name or f"gen-{secrets.token_hex(8)}", INSTANCE, payer, payer.claims(at), amount, tokens, at)


def settlement(hold: Hold, cost: int | None = None, *, upstream: int = 0, status: int = 200) -> Settlement:
    """A generation that settles a hold for its whole amount, or for `cost`; upstream: what own credentials paid for."""
    attempt = Attempt("embedrouter", "embedrouter/cpu", "a-model", status, 1_000)
    made = Generation(
        id=hold.id,
        created_at=hold.at,
        key_id=hold.payer.key_id,
        workspace_id=hold.payer.workspace_id,
        owner_id=None,
        app_id=0,
        public=True,
        api_type="embeddings",
        model="a-model",
        model_permaslug="a-model",
        endpoint="embedrouter/cpu",
        provider_name="embedrouter",
        status=status,
        error_type=None if status == 200 else "server",
        cancelled=False,
        inputs=1,
        prompt_tokens=hold.tokens if status == 200 else 0,
        cost_pico=hold.amount.pico if cost is None else cost,
        is_byok=upstream > 0,
        latency_us=1_500,
        generation_us=1_000,
        attempts=attempts_json([attempt]),
        origin="",
        http_referer=None,
        user_agent=None,
        external_user=None,
        session_id=None,
        request_id=None,
        cache_source_id=None,
        upstream_pico=upstream,
    )
    return Settlement(made, hold.payer, hold)
