"""A server's database as an auditor sees it: filled before a test, questioned beside or after the server."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, func, select, update

from embedrouter.accounts import first, keys
from embedrouter.accounts.first import Wanted
from embedrouter.accounts.keys import NewKey, digest_of
from embedrouter.ledger import credits as ledger_credits
from embedrouter.ledger.credits import Balance, Credit
from embedrouter.ledger.doctor import examine
from embedrouter.money import PICO
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate
from embedrouter.store.tables import generations, holds, instances, spending
from server import KEY

POOR_KEY = "sk-er-v1-" + "9009" * 16
POOR_LIMIT = 3_000_000  # pico-USD: some dozens of short texts
_AT = 1_767_225_600_000_000  # microseconds


class Bank:
    """Writes what others write beside a server; reads at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url)

    @property
    def path(self) -> Path:
        """Of SQLite's file."""
        assert self.database.path is not None
        return self.database.path

    def endow(self, amount: int = 1000 * PICO, *, poor_limit: int = POOR_LIMIT) -> None:
        """Credits; a key with limits it never reaches, counted in `holds`; and one with a limit it soon reaches."""
        migrate(self.database)
        writer = Writer(self.database)
        first.prepare(writer, Wanted(KEY, None, False, Path("/nonexistent")))
        credit = Credit("top_up", amount, "a test", "to be spent", _AT)
        writer.submit(ledger_credits.add, credit).result()
        limited = keys.KeyChange(
            digest_of(KEY).hex(), {"limit_pico": amount, "limit_reset": "day", "max_concurrent": 1000}, _AT
        )
        writer.submit(keys.change, limited).result()
        poor = NewKey(digest_of(POOR_KEY), "sk-poor", "poor", "api", _AT, first.WORKSPACE, limit_pico=poor_limit)
        writer.submit(keys.create, poor).result()
        writer.close()

    def close(self) -> None:
        self.database.close()

    def disable(self, secret: str, *, disabled: bool = True) -> None:
        """As another process does it."""
        self._change(secret, disabled=disabled)

    def add_key(self, secret: str, *, requests_per_minute: int) -> None:
        """Another one."""
        new = NewKey(
            digest_of(secret), "sk-more", "more", "api", _AT, first.WORKSPACE, requests_per_minute=requests_per_minute
        )
        writer = Writer(self.database)
        writer.submit(keys.create, new).result()
        writer.close()

    def limit(self, secret: str, limit: int) -> None:
        """A key's limit, in pico-USD."""
        self._change(secret, limit_pico=limit)

    def _change(self, secret: str, **values: object) -> None:
        writer = Writer(self.database)
        writer.submit(keys.change, keys.KeyChange(digest_of(secret).hex(), values, _AT)).result()
        writer.close()

    def age_instances(self, microseconds: int) -> None:
        """Make every process look as if it had not been seen for so long."""

        def write(batch: Batch, payloads: Sequence[None]) -> Sequence[None]:
            batch.connection.execute(update(instances).values(seen_at=instances.c.seen_at - microseconds))
            return [None] * len(payloads)

        writer = Writer(self.database)
        writer.submit(write, None).result()
        writer.close()

    def costs(self) -> dict[str, int]:
        """Of every generation that was answered with 200, by its id, in pico-USD."""
        return self.database.read_now(_costs)

    def count(self, *, status: int, cancelled: bool = False) -> int:
        """Generations with this status."""
        query = select(func.count()).where(generations.c.status == status, generations.c.cancelled.is_(cancelled))
        return int(self.database.read_now(lambda connection: connection.execute(query).scalar_one()))

    def balance(self) -> Balance:
        return self.database.read_now(ledger_credits.balance)

    def holds(self) -> int:
        query = select(func.count()).select_from(holds)
        return int(self.database.read_now(lambda connection: connection.execute(query).scalar_one()))

    def used(self, secret: str) -> int:
        """What a key has spent and holds, in all."""
        key = self.database.read_now(lambda connection: keys.find(connection, digest_of(secret).hex()))
        query = select(spending.c.spent_pico + spending.c.held_pico).where(
            spending.c.scope == "key", spending.c.scope_id == str(key.id), spending.c.period == "total"
        )
        return int(self.database.read_now(lambda connection: connection.execute(query).scalar_one_or_none()) or 0)

    def findings(self) -> list[str]:
        """What the doctor finds."""
        return [str(finding) for finding in self.database.read_now(examine).findings]

    def audit(self, told: dict[str, int], *, poor_limit: int = POOR_LIMIT) -> None:
        """told: what each answer said it cost, by its X-Generation-Id. Every one is in the ledger, and nothing else."""
        # In one snapshot: PostgreSQL may be busy yet with the last words of a server that was killed.
        costs, balance, findings = self.database.read_now(
            lambda connection: (_costs(connection), ledger_credits.balance(connection), examine(connection).findings)
        )
        missing = sorted(set(told) - set(costs))
        assert not missing, f"{len(missing)} of {len(told)} answers have no generation: {missing[:3]}"
        wrong = [(name, cost, costs[name]) for name, cost in told.items() if costs[name] != cost]
        assert not wrong, f"charged otherwise than told: {wrong[:3]}"
        assert balance.spent_pico == sum(costs.values())
        assert findings == []
        assert self.used(POOR_KEY) <= poor_limit


def _costs(connection: Connection) -> dict[str, int]:
    query = select(generations.c.id, generations.c.cost_pico).where(generations.c.status == 200)
    return {row.id: row.cost_pico for row in connection.execute(query)}
