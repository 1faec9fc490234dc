"""The proof that the books agree: sum(ledger) = balances = generations = usage, or the row where they do not.

Everything is read in one snapshot, so it may run beside a server under load.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger.generations import BUCKET
from embedrouter.ledger.holds import CLAIMS
from embedrouter.money import usd_text
from embedrouter.periods import DAY, SECOND, start_of
from embedrouter.store.tables import accounts, api_keys, generations, holds, ledger, marks, spending, usage

PRUNED: Final = "generations_pruned_until"  # in `marks`: microseconds; older generations may be gone


class Finding(NamedTuple):
    """One disagreement."""

    check: str
    row: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check}: {self.row} should be {self.expected}, is {self.found}"


class Diagnosis(NamedTuple):
    """What the doctor says."""

    generations: int
    ledger_entries: int
    findings: list[Finding]


def examine(connection: Connection) -> Diagnosis:
    """All checks, in the connection's one snapshot."""
    pruned = connection.execute(select(marks.c.value).where(marks.c.name == PRUNED)).scalar_one_or_none() or 0
    findings = [
        finding
        for check in (_credits, _balances, _usage_entries, _buckets, _spending, _held, _charged)
        for finding in check(connection, pruned)
    ]
    return Diagnosis(_count(connection, generations), _count(connection, ledger), findings)


def _credits(connection: Connection, _: int) -> Iterator[Finding]:
    """Top-ups and adjustments make what an account says it was credited."""
    sums = _totals(
        connection,
        select(ledger.c.account_id, func.sum(ledger.c.amount_pico))
        .where(ledger.c.kind != "usage")
        .group_by(ledger.c.account_id),
    )
    for row in connection.execute(select(accounts)):
        yield from _differ("credits of an account", row.id, sums.pop(row.id, 0), row.credited_pico)
    for account_id, amount in sums.items():
        yield Finding("credits of an account", account_id, usd_text(amount), "no account")


def _balances(connection: Connection, _: int) -> Iterator[Finding]:
    """The whole ledger makes the balance."""
    spent = _totals(connection, select(spending.c.scope_id, spending.c.spent_pico).where(spending.c.scope == "account"))
    sums = _totals(
        connection, select(ledger.c.account_id, func.sum(ledger.c.amount_pico)).group_by(ledger.c.account_id)
    )
    for row in connection.execute(select(accounts)):
        yield from _differ("balance", row.id, sums.get(row.id, 0), row.credited_pico - spent.get(row.id, 0))


def _usage_entries(connection: Connection, pruned: int) -> Iterator[Finding]:
    """Each usage entry is the sum of its key's generations of that day."""
    since = _next(pruned, DAY)
    day = generations.c.created_at - generations.c.created_at % (DAY * SECOND)
    made = _totals(
        connection,
        select(generations.c.key_id, day / SECOND, func.sum(generations.c.cost_pico))
        .where(generations.c.created_at >= since * SECOND)
        .group_by(generations.c.key_id, day),
    )
    booked = _totals(
        connection,
        select(ledger.c.key_id, ledger.c.day, -func.sum(ledger.c.amount_pico))
        .where(ledger.c.kind == "usage", ledger.c.day >= since)
        .group_by(ledger.c.key_id, ledger.c.day),
    )
    yield from _compare("usage entry of key and day", made, booked)


def _buckets(connection: Connection, pruned: int) -> Iterator[Finding]:
    """Each row of `usage` is the sum of its generations."""
    since = _next(pruned, BUCKET)
    bucket = generations.c.created_at - generations.c.created_at % (BUCKET * SECOND)
    names = ("key_id", "workspace_id", "model_permaslug", "endpoint", "app_id", "public")
    for metric, of_generations in (
        ("requests", func.count()),
        ("prompt_tokens", func.sum(generations.c.prompt_tokens)),
        ("cost_pico", func.sum(generations.c.cost_pico)),
        ("inputs", func.sum(generations.c.inputs)),
        ("latency_us", func.sum(generations.c.latency_us)),
        ("generation_us", func.sum(generations.c.generation_us)),
        ("cache_hits", func.count(generations.c.cache_source_id)),
    ):
        columns = [generations.c[name] for name in names]
        made = _totals(
            connection,
            select(bucket / SECOND, *columns, of_generations)
            .where(generations.c.created_at >= since * SECOND)
            .group_by(bucket, *columns),
        )
        summed = _totals(
            connection,
            select(usage.c.bucket, *(usage.c[name] for name in names), usage.c[metric]).where(usage.c.bucket >= since),
        )
        yield from _compare(f"usage ({metric})", made, summed)


def _spending(connection: Connection, _: int) -> Iterator[Finding]:
    """What each key, workspace and account spent, in each period, is the sum of its usage."""
    for scope, column in (("key", usage.c.key_id), ("workspace", usage.c.workspace_id)):
        made: dict[Any, int] = {}
        per_day = usage.c.bucket - usage.c.bucket % DAY
        for of, day, cost in connection.execute(
            select(column, per_day, func.sum(usage.c.cost_pico)).group_by(column, per_day)
        ):
            for period in ("total", "day", "week", "month"):
                key = (str(of), period, start_of(period, int(day) * SECOND))
                made[key] = made.get(key, 0) + int(cost)
        kept = _totals(
            connection,
            select(spending.c.scope_id, spending.c.period, spending.c.start, spending.c.spent_pico).where(
                spending.c.scope == scope
            ),
        )
        yield from _compare(f"spending of a {scope}", made, kept)


def _held(connection: Connection, _: int) -> Iterator[Finding]:
    """What is held is the sum of the holds."""
    made: dict[Any, int] = {}
    for row in connection.execute(select(holds.c.claims, holds.c.amount_pico)):
        for claim in CLAIMS.decode(row.claims):
            made[claim] = made.get(claim, 0) + row.amount_pico
    columns = (spending.c.scope, spending.c.scope_id, spending.c.period, spending.c.start)
    kept = _totals(connection, select(*columns, spending.c.held_pico).where(spending.c.held_pico != 0))
    yield from _compare("held money", made, kept)


def _charged(connection: Connection, _: int) -> Iterator[Finding]:
    """No generation of a key that never was, and none that cost something without having been answered."""
    orphans = (
        select(generations.c.id)
        .where(generations.c.key_id.not_in(select(api_keys.c.id)))
        .order_by(generations.c.id)
        .limit(10)
    )
    for generation_id in connection.execute(orphans).scalars():
        yield Finding("generation", generation_id, "of a known key", "of an unknown key")
    unanswered = select(generations.c.id).where(generations.c.status != 200, generations.c.cost_pico != 0).limit(10)
    for generation_id in connection.execute(unanswered).scalars():
        yield Finding("generation", generation_id, "free, for it failed", "charged")


def _totals(connection: Connection, query: Any) -> dict[Any, int]:
    """Rows as {all columns but the last: the last}; a key of one column is bare."""
    found: dict[Any, int] = {}
    for *key, value in connection.execute(query):
        whole = tuple(int(part) if not isinstance(part, str) else part for part in key)
        found[whole if len(whole) > 1 else whole[0]] = int(value or 0)
    return found


def _compare(check: str, made: dict[Any, int], kept: dict[Any, int]) -> Iterator[Finding]:
    for key in sorted(made.keys() | kept.keys(), key=str):
        yield from _differ(check, ", ".join(map(str, key)), made.get(key, 0), kept.get(key, 0))


def _differ(check: str, row: str, expected: int, found: int) -> Iterator[Finding]:
    if expected != found:
        yield Finding(check, row, str(expected), str(found))


def _next(pruned: int, step: int) -> int:
    """The first second of the first whole step after what was pruned."""
    return -(-pruned // (step * SECOND)) * step


def _count(connection: Connection, table: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
