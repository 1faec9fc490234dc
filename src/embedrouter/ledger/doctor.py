"""The proof that the books agree: sum(ledger) = balances = generations = usage, or the row where they do not.

Everything is read in one snapshot, so it may run beside a server under load. The database compares and gives only what
differs, so its size is no matter here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, case, cast, func, literal, or_, select, union_all

from embedrouter.ledger.book import DEAD_AFTER
from embedrouter.ledger.generations import BUCKET
from embedrouter.ledger.holds import CLAIMS
from embedrouter.periods import DAY, PERIODS, SECOND, Period, start_of
from embedrouter.store.tables import accounts, api_keys, generations, holds, instances, ledger, marks, spending, usage

PRUNED: Final = "generations_pruned_until"  # in `marks`: microseconds; older generations may be gone
USAGE_PRUNED: Final = "usage_pruned_until"  # in `marks`: microseconds; older rows of `usage` may be gone
SPENDING_PRUNED: Final = "spending_pruned_until"  # the same of `spending`, but for its totals
_KEYS_REVISION: Final = "keys_revision"  # in `marks`: what accounts count their changes by
MOST: Final = 100  # findings of one check; who has more has them all for one reason
_CHUNK: Final = 500  # keys looked at together


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


class Silent(NamedTuple):
    """A gateway process that ended without signing off, and that no other has yet cleaned up after."""

    id: str
    host: str
    pid: int
    seen_at: int  # microseconds
    holds: int


class _Pruned(NamedTuple):
    """Up to when rows may be gone, in microseconds."""

    generations: int
    usage: int
    spending: int


def pruned_until(connection: Connection, name: str) -> int:
    """One of those marks; 0 where nothing was removed yet."""
    return _mark(connection, name)


def examine(connection: Connection) -> Diagnosis:
    """All checks, in the connection's one snapshot; at most MOST findings of each."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    pruned = _Pruned(*(_mark(connection, name) for name in (PRUNED, USAGE_PRUNED, SPENDING_PRUNED)))
    findings = [finding for check in _CHECKS for finding in islice(check(connection, pruned), MOST)]
    return Diagnosis(_count(connection, generations), _count(connection, ledger), findings)


def silent(connection: Connection, at: int) -> list[Silent]:
    """Processes that others take for dead at `at` (microseconds)."""
    query = (
        select(instances, func.count(holds.c.id).label("holds"))
        .join_from(instances, holds, holds.c.instance_id == instances.c.id, isouter=True)
        .where(instances.c.seen_at < at - DEAD_AFTER)
        .group_by(instances.c.id)
        .order_by(instances.c.seen_at)
    )
    return [Silent(row.id, row.host, row.pid, row.seen_at, row.holds) for row in connection.execute(query)]


def orphans(connection: Connection) -> list[str]:
    """Holds of processes that are not known: nobody will let them go."""
    query = select(holds.c.id).where(holds.c.instance_id.not_in(select(instances.c.id)))
    return list(connection.execute(query.order_by(holds.c.id).limit(MOST)).scalars())


# --- money


def _credits(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """Top-ups and adjustments make what an account says it was credited."""
    booked = select(ledger.c.account_id.label("account"), ledger.c.amount_pico.label("made"), _zero("kept")).where(
        ledger.c.kind != "usage"
    )
    credited = select(accounts.c.id.label("account"), _zero("made"), accounts.c.credited_pico.label("kept"))
    yield from _compare(connection, "credits of an account", ("account",), [booked, credited])


def _balances(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """The whole ledger makes the balance: what was credited less what was spent."""
    booked = select(ledger.c.account_id.label("account"), ledger.c.amount_pico.label("made"), _zero("kept"))
    credited = select(accounts.c.id.label("account"), _zero("made"), accounts.c.credited_pico.label("kept"))
    spent = select(spending.c.scope_id.label("account"), _zero("made"), (-spending.c.spent_pico).label("kept")).where(
        spending.c.scope == "account"
    )
    yield from _compare(connection, "balance", ("account",), [booked, credited, spent])


def _usage_entries(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """Each usage entry of the ledger is the sum of its key's generations of that day."""
    since = _next(pruned.generations, DAY)
    made = select(
        generations.c.key_id,
        _day_of(generations.c.created_at // SECOND).label("day"),
        generations.c.cost_pico.label("made"),
        _zero("kept"),
    ).where(generations.c.created_at >= since * SECOND)
    yield from _compare(connection, "usage entry of the ledger", ("key_id", "day"), [made, _booked(since)])


def _usage_days(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """The same against `usage`, which reaches further back where generations are pruned."""
    if pruned.usage >= pruned.generations:
        return
    since = _next(pruned.usage, DAY)
    made = select(
        usage.c.key_id, _day_of(usage.c.bucket).label("day"), usage.c.cost_pico.label("made"), _zero("kept")
    ).where(usage.c.bucket >= since)
    yield from _compare(connection, "usage entry of the ledger", ("key_id", "day"), [made, _booked(since)])


def _spent_by_keys(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """What a key spent, in each period, is the sum of its usage entries."""
    booked = set(connection.execute(select(ledger.c.key_id).where(ledger.c.kind == "usage").distinct()).scalars())
    kept = set(connection.execute(select(spending.c.scope_id).where(spending.c.scope == "key").distinct()).scalars())
    ids = sorted({str(key_id) for key_id in booked} | kept)
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        days = connection.execute(
            select(ledger.c.key_id, ledger.c.day, -func.sum(ledger.c.amount_pico))
            .where(ledger.c.kind == "usage", ledger.c.key_id.in_([int(of) for of in some if of.isdecimal()]))
            .group_by(ledger.c.key_id, ledger.c.day)
        )
        yield from _compare_spent(connection, "key", some, days, _next(pruned.spending, DAY))


def _spent_by_workspaces(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """What a workspace spent, in each period that `usage` has wholly, is the sum of its usage."""
    since = _next(pruned.usage, DAY)
    gone = max(since, _next(pruned.spending, DAY))
    rows = select(usage.c.workspace_id, _day_of(usage.c.bucket).label("day"), usage.c.cost_pico).where(
        usage.c.bucket >= since
    )
    by_day = rows.subquery()  # PostgreSQL takes no expression with parameters for the same one twice
    days = connection.execute(
        select(by_day.c.workspace_id, by_day.c.day, func.sum(by_day.c.cost_pico)).group_by(
            by_day.c.workspace_id, by_day.c.day
        )
    )
    yield from _compare_spent(connection, "workspace", None, days, gone, totals=not pruned.usage)


def _spent_by_all(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """All workspaces together spent what all accounts did, also where `usage` is pruned."""
    spent = select(func.coalesce(func.sum(spending.c.spent_pico), 0)).where(spending.c.period == "total")
    of_accounts = connection.execute(spent.where(spending.c.scope == "account")).scalar_one()
    of_workspaces = connection.execute(spent.where(spending.c.scope == "workspace")).scalar_one()
    yield from _differ("spending of all workspaces", "period=total", int(of_accounts), int(of_workspaces))


def _held(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """What is held is the sum of the holds."""
    made: dict[Any, int] = {}
    for row in connection.execute(select(holds.c.id, holds.c.claims, holds.c.amount_pico)):
        try:
            claims = CLAIMS.decode(row.claims)
        except msgspec.DecodeError:
            yield Finding("hold", f"id={row.id}", "one with claims", "one whose claims cannot be read")
            continue
        for claim in claims:
            made[tuple(claim)] = made.get(tuple(claim), 0) + row.amount_pico
    columns = (spending.c.scope, spending.c.scope_id, spending.c.period, spending.c.start)
    kept = {
        tuple(row[:-1]): row[-1]
        for row in connection.execute(select(*columns, spending.c.held_pico).where(spending.c.held_pico != 0))
    }
    for key in sorted(made.keys() | kept.keys()):
        named = _row(("scope", "scope_id", "period", "start"), key)
        yield from _differ("held money", named, made.get(key, 0), kept.get(key, 0))


# --- usage


def _buckets(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """Each row of `usage` is the sum of its generations."""
    since = max(_next(pruned.generations, BUCKET), _next(pruned.usage, BUCKET))
    second = generations.c.created_at // SECOND
    names = ("key_id", "workspace_id", "model_permaslug", "endpoint", "app_id", "public")
    metrics: Mapping[str, Any] = {
        "requests": literal(1),
        "failures": _flag(generations.c.status != 200),
        "cache_hits": _flag(generations.c.cache_source_id.is_not(None)),
        "inputs": generations.c.inputs,
        "prompt_tokens": generations.c.prompt_tokens,
        "cost_pico": generations.c.cost_pico,
        "latency_us": generations.c.latency_us,
        "generation_us": generations.c.generation_us,
    }
    made = select(
        (second - second % BUCKET).label("bucket"),
        *(generations.c[name] for name in names),
        *(cast(value, BigInteger).label(f"made_{name}") for name, value in metrics.items()),
        *(_zero(f"kept_{name}") for name in metrics),
    ).where(generations.c.created_at >= since * SECOND)
    kept = select(
        usage.c.bucket,
        *(usage.c[name] for name in names),
        *(_zero(f"made_{name}") for name in metrics),
        *(usage.c[name].label(f"kept_{name}") for name in metrics),
    ).where(usage.c.bucket >= since)
    yield from _compare(connection, "usage", ("bucket", *names), [made, kept], tuple(metrics))


# --- rows by themselves


def _charged(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """No generation of a key that never was, none that failed and cost something, none that earned money."""
    for wrong, expected, found in (
        (generations.c.key_id.not_in(select(api_keys.c.id)), "of a known key", "of an unknown key"),
        ((generations.c.status != 200) & (generations.c.cost_pico != 0), "free, for it failed", "charged"),
        (generations.c.cost_pico < 0, "of no negative cost", "of a negative one"),
    ):
        query = select(generations.c.id).where(wrong).order_by(generations.c.id).limit(MOST)
        for generation_id in connection.execute(query).scalars():
            yield Finding("generation", f"id={generation_id}", expected, found)


def _revisions(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """No key is newer than the newest change: running servers would not take in what changes next."""
    newest = _mark(connection, _KEYS_REVISION)
    query = select(api_keys.c.hash, api_keys.c.revision).where(api_keys.c.revision > newest).limit(MOST)
    for row in connection.execute(query.order_by(api_keys.c.id)):
        yield Finding("revision of a key", f"hash={row.hash}", f"at most {newest}", str(row.revision))


_CHECKS: Final = (
    _credits,
    _balances,
    _usage_entries,
    _usage_days,
    _buckets,
    _spent_by_keys,
    _spent_by_workspaces,
    _spent_by_all,
    _held,
    _charged,
    _revisions,
)


# --- comparing


def _compare(
    connection: Connection,
    check: str,
    by: Sequence[str],
    parts: Sequence[Select[Any]],
    metrics: Sequence[str] = ("",),
) -> Iterator[Finding]:
    """Groups of the rows of `parts`, of which the sum of `made` is not the sum of `kept`, for one metric or several."""
    pairs = [(f"made_{name}", f"kept_{name}") if name else ("made", "kept") for name in metrics]
    rows = union_all(*parts).subquery()
    sums = [(func.sum(rows.c[made]), func.sum(rows.c[kept])) for made, kept in pairs]
    columns = [rows.c[name] for name in by]
    query = (
        select(*columns, *(total for pair in sums for total in pair))
        .group_by(*columns)
        .having(or_(*(made != kept for made, kept in sums)))
        .order_by(*columns)
        .limit(MOST)
    )
    for row in connection.execute(query):
        values = row[len(by) :]
        for index, name in enumerate(metrics):
            told = f"{check} ({name})" if name else check
            yield from _differ(told, _row(by, row), int(values[2 * index]), int(values[2 * index + 1]))


def _compare_spent(
    connection: Connection,
    scope: str,
    ids: Sequence[str] | None,
    days: Iterable[Any],
    since: int,
    *,
    totals: bool = True,
) -> Iterator[Finding]:
    """days: (id, first second of a day, pico-USD). since: of periods that began before, rows may be gone."""
    made: dict[tuple[str, Period, int], int] = {}
    for of, day, cost in days:
        for period in PERIODS:
            try:
                key = (str(of), period, start_of(period, int(day or 0) * SECOND))
            except (OverflowError, ValueError):  # a damaged day, which another check names
                continue
            made[key] = made.get(key, 0) + int(cost)
    query = select(spending.c.scope_id, spending.c.period, spending.c.start, spending.c.spent_pico).where(
        spending.c.scope == scope
    )
    if ids is not None:
        query = query.where(spending.c.scope_id.in_(ids))
    kept = {(row.scope_id, row.period, row.start): row.spent_pico for row in connection.execute(query)}
    for key in sorted(made.keys() | kept.keys()):
        if totals if key[1] == "total" else key[2] >= since:
            row = _row(("scope", "scope_id", "period", "start"), (scope, *key))
            yield from _differ(f"spending of a {scope}", row, made.get(key, 0), kept.get(key, 0))


def _differ(check: str, row: str, expected: int, found: int) -> Iterator[Finding]:
    if expected != found:
        yield Finding(check, row, str(expected), str(found))


def _row(names: Sequence[str], values: Sequence[Any]) -> str:
    """`key_id=1, day=1767225600 (2026-01-01T00:00Z)`: enough for a WHERE."""
    return ", ".join(
        f"{name}={value}{_moment(value) if name in {'day', 'bucket', 'start'} else ''}"
        for name, value in zip(names, values, strict=False)
    )


def _moment(second: Any) -> str:
    try:
        return f" ({datetime.fromtimestamp(int(second), UTC):%Y-%m-%dT%H:%MZ})" if second else ""
    except (OverflowError, ValueError):  # a damaged one
        return ""


def _booked(since: int) -> Select[Any]:
    return select(ledger.c.key_id, ledger.c.day, _zero("made"), (-ledger.c.amount_pico).label("kept")).where(
        ledger.c.kind == "usage", or_(ledger.c.day >= since, ledger.c.day.is_(None))
    )


def _day_of(second: Any) -> ColumnElement[int]:
    day: ColumnElement[int] = second - second % DAY
    return day


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _zero(name: str) -> ColumnElement[int]:
    return literal(0, BigInteger).label(name)


def _next(pruned: int, step: int) -> int:
    """The first second of the first whole step after what was pruned."""
    return -(-pruned // (step * SECOND)) * step


def _mark(connection: Connection, name: str) -> int:
    return int(connection.execute(select(marks.c.value).where(marks.c.name == name)).scalar_one_or_none() or 0)


def _count(connection: Connection, table: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
