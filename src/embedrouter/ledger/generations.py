"""Generations: one row a request, written in one transaction with its charge and everything that sums it up."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, RowMapping, case, delete, insert, select

from embedrouter.errors import OverloadedError
from embedrouter.ledger import beside
from embedrouter.ledger.beside import Beside
from embedrouter.ledger.claims import NOTHING, NOTHING_LEFT, Amount, Claim, left_of
from embedrouter.ledger.holds import REMOVE, Hold, Room, admit, free, release
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.rates import Ahead, ahead_of
from embedrouter.ledger.rolling import grow_late
from embedrouter.periods import DAY, PERIODS, QUARTER, SECOND, Period, start_of
from embedrouter.store import Batch, Statement
from embedrouter.store.statement import Into
from embedrouter.store.tables import generation_contents, generations, ledger, spending, usage


class Generation(NamedTuple):
    """A row of `generations`, column by column; docs in the table."""

    id: str
    created_at: int  # microseconds
    key_id: int
    workspace_id: str
    owner_id: str | None
    app_id: int
    public: bool
    api_type: str
    model: str
    model_permaslug: str
    endpoint: str
    provider_name: str
    status: int
    error_type: str | None
    cancelled: bool
    inputs: int
    prompt_tokens: int
    cost_pico: int
    is_byok: bool
    latency_us: int
    generation_us: int
    attempts: str  # JSON
    origin: str
    http_referer: str | None
    user_agent: str | None
    external_user: str | None
    session_id: str | None
    request_id: str | None
    cache_source_id: str | None
    upstream_pico: int = 0


class Settlement(NamedTuple):
    """What one request comes to: its generation, the hold it settles, and its prompt where prompts are kept."""

    generation: Generation
    payer: Payer
    hold: Hold | None = None  # that was granted
    prompt: str | None = None  # JSON
    asked: Hold | None = None  # that was not asked for yet: granted or refused with the settlement
    looks_round: bool = False  # whether what is left of its limits is wanted
    beside: Beside | None = None  # what is written with it, or else it is not


def settle(batch: Batch, settlements: Sequence[Settlement]) -> Sequence[Room | Exception]:
    """The writer's handler: writes each generation once, moves its money, and lets its hold go; what is left then."""
    room = Room({}, {})
    written = _already_written(batch, settlements) if batch.again else set()
    todo = [settlement for settlement in settlements if settlement.generation.id not in written]
    lost = beside.refused(batch, _beside(todo))
    if lost:
        todo = [settlement for settlement in todo if settlement.generation.id not in lost]
    lost |= _decide(batch, todo, room)
    todo = [settlement for settlement in todo if settlement.generation.id not in lost]
    if todo:
        rows = [settlement.generation for settlement in todo]
        _ADD.add(batch, rows)
        contents = [
            {
                "id": settlement.generation.id,
                "created_at": settlement.generation.created_at,
                "prompt": settlement.prompt,
            }
            for settlement in todo
            if settlement.prompt is not None
        ]
        if contents:
            _ADD_PROMPT.run(batch, contents)
        beside.write(batch, _beside(todo))
        _charge(batch, todo)
        _sum_up(batch, rows)
        _look_round(batch, todo, room)
    return [lost.get(settlement.generation.id, room) for settlement in settlements]


def void(batch: Batch, settlements: Sequence[Settlement]) -> Sequence[None]:
    """The writer's handler: lets the holds go, and takes back what was written all the same.

    For a settlement that seemed to fail: its client was told that nothing was charged. What has a row beside it stays,
    for whoever reads that row finds its generation done.
    """
    release(batch, [settlement.hold.id for settlement in settlements if settlement.hold is not None])
    alone = [settlement for settlement in settlements if settlement.beside is None]
    written = _already_written(batch, alone)
    todo = [settlement for settlement in alone if settlement.generation.id in written]
    if todo:
        for table in (generations, generation_contents):
            batch.connection.execute(delete(table).where(table.c.id.in_(written)))
        _charge(batch, todo, sign=-1)
        _sum_up(batch, [settlement.generation for settlement in todo], sign=-1)
    return [None] * len(settlements)


def get(connection: Connection, generation_id: str) -> RowMapping | None:
    """A generation's row."""
    return connection.execute(select(generations).where(generations.c.id == generation_id)).mappings().one_or_none()


def get_prompt(connection: Connection, generation_id: str) -> str | None:
    """Its inputs as JSON, where they were kept."""
    table = generation_contents
    return connection.execute(select(table.c.prompt).where(table.c.id == generation_id)).scalar_one_or_none()


def _already_written(batch: Batch, settlements: Sequence[Settlement]) -> set[str]:
    ids = [settlement.generation.id for settlement in settlements]
    return set(batch.connection.execute(select(generations.c.id).where(generations.c.id.in_(ids))).scalars())


def _beside(settlements: Sequence[Settlement]) -> dict[str, Beside]:
    return {one.generation.id: one.beside for one in settlements if one.beside is not None}


def _decide(batch: Batch, settlements: Sequence[Settlement], room: Room) -> dict[str, Exception]:
    """Delete the holds and take back their claims; what must not be charged, by id.

    What was not asked for yet is granted or refused here. A hold that is gone was released for a process thought dead:
    its request may go on only if it is granted anew. Both while what the others hold counts still.
    """
    kept = [settlement.hold for settlement in settlements if settlement.hold is not None and settlement.hold.kept]
    rows = REMOVE.run(batch, [one.id for one in kept])
    there = {row[0] for row in rows}
    missing = []
    if len(there) < len(kept):
        costs = {row.id: Amount(row.cost_pico, row.upstream_pico) for row, *_ in settlements}
        missing = [
            one._replace(payer=_money_only(one.payer), amount=costs[one.id])
            for one in kept
            if one.claims and one.id not in there and costs[one.id] != NOTHING
        ]
    asked = [settlement.asked for settlement in settlements if settlement.asked is not None]
    lost = admit(batch, [*asked, *missing], room)
    free(batch, [(claims, Amount(*amount)) for _, claims, *amount in rows])
    for one in missing:
        if one.id in lost:
            lost[one.id] = OverloadedError(
                "the request's reservation expired before it was answered; try again", retry_after=1
            )
    return lost


def _look_round(batch: Batch, settlements: Sequence[Settlement], room: Room) -> None:
    """What is left of the limits that the settlements had to fit."""
    for one in settlements:
        admission = one.asked or one.hold
        if admission is None or not one.looks_round:
            continue
        for claim in admission.claims:
            if claim not in room.money:
                room.money[claim] = left_of(batch, claim) or NOTHING_LEFT
        if admission.payer.rated and admission.payer.key_id not in room.rates:
            room.rates[admission.payer.key_id] = ahead_of(batch, admission.payer.key_id) or Ahead(0, 0)


def _money_only(payer: Payer) -> Payer:
    return payer._replace(requests_per_minute=None, tokens_per_minute=None, max_concurrent=None)


# --- money


def _charge(batch: Batch, settlements: Sequence[Settlement], sign: int = 1) -> None:
    spent: dict[Claim, list[int]] = {}  # cost, last time, list price of what own credentials paid for
    days: dict[tuple[str, int, int], int] = {}
    for generation, payer, *_ in settlements:
        at, cost, own = generation.created_at, sign * generation.cost_pico, sign * generation.upstream_pico
        day = at // SECOND // DAY
        counters = _counters(generation.key_id, generation.workspace_id, payer.account_id, day)
        if payer.guardrails:
            counters += _of_guardrails(payer.guardrails, at)
        for claim in counters:
            row = spent.setdefault(claim, [0, 0, 0])
            row[0] += cost
            row[1] = max(row[1], at)
            if own and claim.scope != "account":  # it moves no credits
                row[2] += own
        of = (payer.account_id, generation.key_id, day * DAY)
        days[of] = days.get(of, 0) + cost
    _SPEND.add(batch, [(*claim, cost, 0, at, own, 0) for claim, (cost, at, own) in sorted(spent.items())])
    entries = [
        {
            "id": f"usage:{account_id}:{key_id}:{day // DAY}",
            "account_id": account_id,
            "kind": "usage",
            "amount_pico": -cost,
            "created_at": day * SECOND,
            "actor": "system",
            "reason": "usage of a key in a UTC day",
            "idempotency_key": None,
            "key_id": key_id,
            "day": day,
        }
        for (account_id, key_id, day), cost in sorted(days.items())
        if cost
    ]
    if entries:
        _BOOK.run(batch, entries)


@lru_cache(maxsize=4096)
def _counters(key_id: int, workspace_id: str, account_id: str, day: int) -> tuple[Claim, ...]:
    """The rows of `spending` that a charge on a day since 1970 grows."""
    at = day * DAY * SECOND
    scopes = (("key", str(key_id)), ("workspace", workspace_id))
    counters = [Claim(*scope, period, start_of(period, at)) for scope in scopes for period in PERIODS]
    return (*counters, Claim("account", account_id, "total", 0))


def _of_guardrails(limited: Sequence[tuple[str, Period]], at: int) -> tuple[Claim, ...]:
    """In every period, so that a budget that is given another one knows what was spent."""
    return tuple(Claim("guardrail", of, period, start_of(period, at)) for of, _ in limited for period in PERIODS)


def _spend(into: Into) -> Any:
    added = into(spending)
    new = added.excluded
    return added.on_conflict_do_update(
        index_elements=[spending.c.scope, spending.c.scope_id, spending.c.period, spending.c.start],
        set_={
            "spent_pico": spending.c.spent_pico + new.spent_pico,
            "byok_pico": spending.c.byok_pico + new.byok_pico,
            "last_at": case((new.last_at > spending.c.last_at, new.last_at), else_=spending.c.last_at),
        },
    )


def _book(into: Into) -> Any:
    added = into(ledger)
    return added.on_conflict_do_update(
        index_elements=[ledger.c.id], set_={"amount_pico": ledger.c.amount_pico + added.excluded.amount_pico}
    )


# --- sums


_BY: Final = ("bucket", "key_id", "workspace_id", "model_permaslug", "endpoint", "app_id", "public")
_SUMS: Final = (
    "requests",
    "failures",
    "cache_hits",
    "inputs",
    "prompt_tokens",
    "cost_pico",
    "latency_us",
    "generation_us",
    "cancelled",
    "rerouted",
    "byok_tokens",
    "upstream_pico",
)


def _sum_up(batch: Batch, rows: Sequence[Generation], sign: int = 1) -> None:
    buckets: dict[tuple[Any, ...], list[int]] = {}
    names: dict[tuple[Any, ...], tuple[str, str]] = {}
    for row in rows:
        key = (
            row.created_at // SECOND // QUARTER * QUARTER,
            row.key_id,
            row.workspace_id,
            row.model_permaslug,
            row.endpoint,
            row.app_id,
            row.public,
        )
        sums = buckets.setdefault(key, [0] * len(_SUMS))
        names[key] = (row.model, row.provider_name)
        for index, value in enumerate(
            (
                1,
                row.status != 200,
                row.cache_source_id is not None,
                row.inputs,
                row.prompt_tokens,
                row.cost_pico,
                row.latency_us,
                row.generation_us,
                row.status != 200 and row.cancelled,
                _rerouted(row),
                row.prompt_tokens if row.is_byok else 0,
                row.upstream_pico,
            )
        ):
            sums[index] += sign * value
    added = [(*key, *names[key], *sums) for key, sums in sorted(buckets.items())]
    _GROW.add(batch, added)
    grow_late(batch, added, min(row.created_at for row in rows))


def _rerouted(row: Generation) -> bool:
    """Whether somebody answered, though who was asked first did not."""
    if row.status != 200 or "},{" not in row.attempts:  # one attempt, as most have
        return False
    first: Any = orjson.loads(row.attempts)[0]
    return bool(first["status"] != 200)


def _grow(into: Into) -> Any:
    added = into(usage)
    return added.on_conflict_do_update(
        index_elements=list(_BY), set_={name: usage.c[name] + added.excluded[name] for name in _SUMS}
    )


_ADD: Final = Statement(lambda _: insert(generations))
_ADD_PROMPT: Final = Statement(lambda _: insert(generation_contents))
_SPEND: Final = Statement(_spend)
_BOOK: Final = Statement(_book)
_GROW: Final = Statement(_grow)
