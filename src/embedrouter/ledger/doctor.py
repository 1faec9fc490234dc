"""The proof that the books agree: sum(ledger) = balances = generations = usage, or the row where they do not.

Everything is read in one snapshot, so it may run beside a server under load. The database compares and gives only what
differs, so its size is no matter here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from embedrouter.ledger.batch_sums import batch_sums
from embedrouter.ledger.book import DEAD_AFTER
from embedrouter.ledger.claims import CLAIMS, NOTHING, Amount, Claim, summed
from embedrouter.ledger.comparing import MOST, Finding, compare, differ, named, zero
from embedrouter.ledger.rollups import ROLLUPS, mark
from embedrouter.periods import DAY, PERIODS, QUARTER, SECOND, Period, start_of
from embedrouter.store.tables import (
    accounts,
    api_keys,
    generations,
    holds,
    instances,
    ledger,
    marks,
    spending,
    usage,
)

PRUNED: Final = "generations_pruned_until"  # in `marks`: microseconds; older generations may be gone
USAGE_PRUNED: Final = "usage_pruned_until"  # in `marks`: microseconds; older rows of `usage` may be gone
SPENDING_PRUNED: Final = "spending_pruned_until"  # the same of `spending`, but for its totals
_KEYS_REVISION: Final = "keys_revision"  # in `marks`: what accounts count their changes by
_CHUNK: Final = 500  # keys looked at together


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
    booked = select(ledger.c.account_id.label("account"), ledger.c.amount_pico.label("made"), zero("kept")).where(
        ledger.c.kind != "usage"
    )
    credited = select(accounts.c.id.label("account"), zero("made"), accounts.c.credited_pico.label("kept"))
    yield from compare(connection, "credits of an account", ("account",), [booked, credited])


def _balances(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """The whole ledger makes the balance: what was credited less what was spent."""
    booked = select(ledger.c.account_id.label("account"), ledger.c.amount_pico.label("made"), zero("kept"))
    credited = select(accounts.c.id.label("account"), zero("made"), accounts.c.credited_pico.label("kept"))
    spent = select(spending.c.scope_id.label("account"), zero("made"), (-spending.c.spent_pico).label("kept")).where(
        spending.c.scope == "account"
    )
    yield from compare(connection, "balance", ("account",), [booked, credited, spent])


def _usage_entries(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """Each usage entry of the ledger is the sum of its key's generations of that day."""
    since = _next(pruned.generations, DAY)
    made = select(
        generations.c.key_id,
        _day_of(generations.c.created_at // SECOND).label("day"),
        generations.c.cost_pico.label("made"),
        zero("kept"),
    ).where(generations.c.created_at >= since * SECOND)
    yield from compare(connection, "usage entry of the ledger", ("key_id", "day"), [made, _booked(since)])


def _usage_days(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """The same against `usage`, which reaches further back where generations are pruned."""
    if pruned.usage >= pruned.generations:
        return
    since = _next(pruned.usage, DAY)
    made = select(
        usage.c.key_id, _day_of(usage.c.bucket).label("day"), usage.c.cost_pico.label("made"), zero("kept")
    ).where(usage.c.bucket >= since)
    yield from compare(connection, "usage entry of the ledger", ("key_id", "day"), [made, _booked(since)])


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


def _spent_as_used(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """What a workspace spent, and what own credentials paid for, in each period that `usage` has wholly, is the sum of
    its usage."""
    yield from _as_used(connection, pruned, "workspace", usage.c.workspace_id, usage.c.cost_pico)
    for scope, of in (("workspace", usage.c.workspace_id), ("key", usage.c.key_id)):
        yield from _as_used(connection, pruned, scope, of, usage.c.upstream_pico)


def _as_used(connection: Connection, pruned: _Pruned, scope: str, of: Any, metric: Any) -> Iterator[Finding]:
    since = _next(pruned.usage, DAY)
    gone = max(since, _next(pruned.spending, DAY))
    rows = select(of.label("of"), _day_of(usage.c.bucket).label("day"), metric.label("pico"))
    by_day = rows.where(usage.c.bucket >= since).subquery()  # PostgreSQL takes no expression with parameters twice
    days = connection.execute(
        select(by_day.c.of, by_day.c.day, func.sum(by_day.c.pico)).group_by(by_day.c.of, by_day.c.day)
    )
    kept = spending.c.byok_pico if metric is usage.c.upstream_pico else spending.c.spent_pico
    yield from _compare_spent(connection, scope, None, days, gone, totals=not pruned.usage, kept=kept)


def _spent_by_all(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """All workspaces together spent what all accounts did, also where `usage` is pruned."""
    spent = select(func.coalesce(func.sum(spending.c.spent_pico), 0)).where(spending.c.period == "total")
    byok = select(func.coalesce(func.sum(spending.c.byok_pico), 0)).where(spending.c.period == "total")
    by_keys, by_workspaces, by_accounts = (
        int(connection.execute(byok.where(spending.c.scope == scope)).scalar_one())
        for scope in ("key", "workspace", "account")
    )
    yield from differ("byok of all workspaces", "period=total", by_keys, by_workspaces)
    yield from differ("byok of all accounts", "period=total", 0, by_accounts)
    of_accounts = connection.execute(spent.where(spending.c.scope == "account")).scalar_one()
    of_workspaces = connection.execute(spent.where(spending.c.scope == "workspace")).scalar_one()
    yield from differ("spending of all workspaces", "period=total", int(of_accounts), int(of_workspaces))


def _held(connection: Connection, _: _Pruned) -> Iterator[Finding]:
    """What is held is the sum of the holds."""
    wanted: list[tuple[Sequence[Claim], Amount]] = []
    for row in connection.execute(select(holds.c.id, holds.c.claims, holds.c.amount_pico, holds.c.byok_pico)):
        try:
            wanted.append((CLAIMS.decode(row.claims), Amount(row.amount_pico, row.byok_pico)))
        except msgspec.DecodeError:
            yield Finding("hold", f"id={row.id}", "one with claims", "one whose claims cannot be read")
    made = summed(wanted)
    table = spending.c
    query = select(table.scope, table.scope_id, table.period, table.start, table.held_pico, table.byok_held_pico)
    rows = connection.execute(query.where(or_(table.held_pico != 0, table.byok_held_pico != 0)))
    kept = {Claim(*of): Amount(pico, byok_pico) for *of, pico, byok_pico in rows}
    for claim in sorted(made.keys() | kept.keys()):
        of, expected, found = named(Claim._fields, claim), made.get(claim, NOTHING), kept.get(claim, NOTHING)
        yield from differ("held money", of, expected.pico, found.pico)
        yield from differ("held money (byok)", of, expected.byok_pico, found.byok_pico)


# --- usage


def _buckets(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """Each row of `usage` is the sum of its generations."""
    since = max(_next(pruned.generations, QUARTER), _next(pruned.usage, QUARTER))
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
        "cancelled": _flag((generations.c.status != 200) & generations.c.cancelled),
        "byok_tokens": case((generations.c.is_byok, generations.c.prompt_tokens), else_=0),
        "upstream_pico": generations.c.upstream_pico,
    }
    made = select(
        (second - second % QUARTER).label("bucket"),
        *(generations.c[name] for name in names),
        *(cast(value, BigInteger).label(f"made_{name}") for name, value in metrics.items()),
        *(zero(f"kept_{name}") for name in metrics),
    ).where(generations.c.created_at >= since * SECOND)
    kept = select(
        usage.c.bucket,
        *(usage.c[name] for name in names),
        *(zero(f"made_{name}") for name in metrics),
        *(usage.c[name].label(f"kept_{name}") for name in metrics),
    ).where(usage.c.bucket >= since)
    yield from compare(connection, "usage", ("bucket", *names), [made, kept], tuple(metrics))


def _rolled_up(connection: Connection, pruned: _Pruned) -> Iterator[Finding]:
    """Each row of a rollup is the sum of its rows of `usage` before the mark, and there are no others."""
    since, until = _next(pruned.usage, DAY), mark(connection)
    for rollup in ROLLUPS:
        table, live, keys, sums = rollup.table, rollup.live, rollup.keys, rollup.sums
        made = select(
            *(live[name].label(name) for name in keys),
            *(live[name].label(f"made_{name}") for name in sums),
            *(zero(f"kept_{name}") for name in sums),
        ).where(usage.c.bucket >= since, usage.c.bucket < until, *rollup.within)
        kept = select(
            *(table.c[name] for name in keys),
            *(zero(f"made_{name}") for name in sums),
            *(table.c[name].label(f"kept_{name}") for name in sums),
        ).where(table.c.bucket >= since, *([table.c.split == rollup.split] if rollup.split else []))
        name = f"{table.name} ({rollup.split})" if rollup.split else table.name
        yield from compare(connection, name, keys, [made, kept], sums)


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
    _rolled_up,
    _spent_by_keys,
    _spent_as_used,
    _spent_by_all,
    _held,
    _charged,
    lambda connection, pruned: batch_sums(connection, pruned.generations),
    _revisions,
)


# --- comparing


def _compare_spent(
    connection: Connection,
    scope: str,
    ids: Sequence[str] | None,
    days: Iterable[Any],
    since: int,
    *,
    totals: bool = True,
    kept: Any = spending.c.spent_pico,
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
    query = select(spending.c.scope_id, spending.c.period, spending.c.start, kept).where(spending.c.scope == scope)
    if ids is not None:
        query = query.where(spending.c.scope_id.in_(ids))
    there = {(of, period, start): pico for of, period, start, pico in connection.execute(query)}
    check = f"{'byok' if kept is spending.c.byok_pico else 'spending'} of a {scope}"
    for key in sorted(made.keys() | there.keys()):
        if totals if key[1] == "total" else key[2] >= since:
            of = named(("scope", "scope_id", "period", "start"), (scope, *key))
            yield from differ(check, of, made.get(key, 0), there.get(key, 0))


def _booked(since: int) -> Select[Any]:
    return select(ledger.c.key_id, ledger.c.day, zero("made"), (-ledger.c.amount_pico).label("kept")).where(
        ledger.c.kind == "usage", or_(ledger.c.day >= since, ledger.c.day.is_(None))
    )


def _day_of(second: Any) -> ColumnElement[int]:
    day: ColumnElement[int] = second - second % DAY
    return day


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _next(pruned: int, step: int) -> int:
    """The first second of the first whole step after what was pruned."""
    return -(-pruned // (step * SECOND)) * step


def _mark(connection: Connection, name: str) -> int:
    return int(connection.execute(select(marks.c.value).where(marks.c.name == name)).scalar_one_or_none() or 0)


def _count(connection: Connection, table: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
