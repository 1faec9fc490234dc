"""Reserving money and rate before a request runs; exact across processes, since the database decides.

A request claims its cost, known exactly before it runs, in each counter that limits it: its account's balance, its
workspace's and its guardrails' budgets, its key's limit. Each claim is one conditional update. All claims and rates of
a request hold, or none. Requests that arrive together are tried as one; only if that does not fit, each by itself.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, bindparam, case, func, insert, select, update
from sqlalchemy.sql import ColumnElement

from embedrouter.errors import EmbedRouterError, PaymentRequiredError, PermissionDeniedError, RateLimitExceededError
from embedrouter.money import PICO, usd, usd_price, usd_text
from embedrouter.periods import INTERVAL_OF, INTERVALS, RESET_OF, SECOND, Period, end_of, iso, start_of
from embedrouter.store import Batch, Removal, Statement, savepoint
from embedrouter.store.tables import accounts, api_keys, budgets, guardrails, holds, key_rates, spending

MINUTE: Final = 60_000_000_000  # nanoseconds
_SKEW: Final = 5_000_000_000  # nanoseconds; a rate further ahead than its minute and this is of a clock that jumped
_BREADTH: Final = tuple(INTERVALS.values())  # the narrowest first
_LIMITS: Final = {"account": "balance", "workspace": "budget", "guardrail": "guardrail_budget", "key": "key_limit"}
_NO_LIMIT: Final = (1 << 63) - 1
_MOST_AT_ONCE: Final = 4_000_000 * PICO  # pico-USD of one request: taken from the lowest balance, it fits 64 bits


class Claim(NamedTuple):
    """One row of `spending` whose limit a request must fit."""

    scope: str  # account, workspace, key, guardrail
    scope_id: str
    period: Period
    start: int


CLAIMS: Final = msgspec.json.Decoder(tuple[Claim, ...])


class Payer(NamedTuple):
    """Who pays, and by which limits: what the ledger must know of a key."""

    key_id: int
    workspace_id: str
    account_id: str
    key_limit: Period | None = None  # the period of the key's limit; None: no limit
    budgets: tuple[Period, ...] = ()  # of its workspace
    guardrails: tuple[tuple[str, Period], ...] = ()  # those with a budget, and its period
    enforce_balance: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None

    @property
    def limited(self) -> bool:
        """Whether a request of this payer must be admitted by the database."""
        return (
            self.enforce_balance
            or self.key_limit is not None
            or bool(self.budgets)
            or bool(self.guardrails)
            or self.requests_per_minute is not None
            or self.tokens_per_minute is not None
            or self.max_concurrent is not None
        )

    @property
    def place(self) -> "Payer":
        """Nothing but its place among those that may run at once."""
        return Payer(self.key_id, self.workspace_id, self.account_id, max_concurrent=self.max_concurrent)

    def claims(self, at: int) -> tuple[Claim, ...]:
        """What a request admitted at `at` (microseconds) must fit; always in the same order, so that none deadlock."""
        found = [Claim("account", self.account_id, "total", 0)] if self.enforce_balance else []
        found += [Claim("workspace", self.workspace_id, period, start_of(period, at)) for period in self.budgets]
        found += [Claim("guardrail", of, period, start_of(period, at)) for of, period in self.guardrails]
        if self.key_limit is not None:
            found.append(Claim("key", str(self.key_id), self.key_limit, start_of(self.key_limit, at)))
        return tuple(found)


class Hold(NamedTuple):
    """A request for admission; once granted, what is reserved for it."""

    id: str  # the generation's
    instance_id: str
    payer: Payer
    claims: tuple[Claim, ...]
    amount_pico: int
    tokens: int
    at: int  # microseconds

    @property
    def kept(self) -> bool:
        """Whether a row remembers it until it is settled or released."""
        return bool(self.claims) or self.payer.max_concurrent is not None


def hold(batch: Batch, requests: Sequence[Hold]) -> Sequence[Hold | Exception]:
    """The writer's handler: grants each request, or says what refuses it."""
    refusals = _decide(batch, _not_yet_held(batch, requests) if batch.again else requests, kept=True)
    return [refusals.get(request.id, request) for request in requests]


hold.takes = True  # type: ignore[attr-defined]  # the writer has those who give back go first


def admit(batch: Batch, requests: Sequence[Hold]) -> dict[str, Exception]:
    """Decide as `hold` does about requests that are charged in this very transaction; the refusals, by id."""
    if not requests or _grant(batch, requests, _fit) is None:  # as mostly: then nothing need be claimed
        return {}
    refusals = _decide(batch, requests, kept=False)
    sums: Counter[Claim] = Counter()
    for request in requests:
        if request.id not in refusals:
            for claim in request.claims:
                sums[claim] += request.amount_pico
    _unclaim(batch, sums)
    return refusals


def free(batch: Batch, found: Iterable[tuple[str, int]]) -> None:
    """Take the claims of hold rows, already deleted, back out of `spending`. found: their claims and amounts."""
    sums: Counter[Claim] = Counter()
    for claims, amount in found:
        if amount:
            for claim in CLAIMS.decode(claims):
                sums[claim] += amount
    _unclaim(batch, sums)


def release(batch: Batch, ids: Sequence[str]) -> Sequence[None]:
    """The writer's handler: gives back what was reserved. Once: what is not held any more is passed over."""
    free(batch, [(claims, amount) for _, claims, amount in REMOVE.run(batch, ids)])
    return [None] * len(ids)


# --- granting


def _decide(batch: Batch, requests: Sequence[Hold], *, kept: bool) -> dict[str, Exception]:
    """Claim what each request costs, all together if that fits, else one by one; the refusals, by id.

    kept: a row remembers each.
    """
    if _grant(batch, requests, _claim, kept=kept) is None:
        return {}
    _make_rows(batch, requests)
    refusals: dict[str, Exception] = {}
    for request in requests:
        refusal = _grant(batch, [request], _claim, kept=kept)
        if refusal is not None:
            refusals[request.id] = refusal
    return refusals


def _unclaim(batch: Batch, sums: Mapping[Claim, int]) -> None:
    changes = [_parameters(claim, amount) for claim, amount in sorted(sums.items()) if amount]
    if changes:
        _UNCLAIM.run(batch, changes)


def _grant(
    batch: Batch, requests: Sequence[Hold], money: Callable[[Batch, Claim, int], bool], *, kept: bool = False
) -> EmbedRouterError | None:
    """All of them, or nothing is changed and what refused it is returned. money: what to do with each sum."""
    if not requests:
        return None
    if any(request.amount_pico > _MOST_AT_ONCE for request in requests):
        return PaymentRequiredError(f"a request may cost at most {usd(_MOST_AT_ONCE):,.0f} USD")
    with savepoint(batch) as undo:
        refusal = _rates(batch, requests) or _concurrency(batch, requests) or _money(batch, requests, money)
        if refusal is not None:
            undo()
            return refusal
        rows = [
            {
                "id": request.id,
                "instance_id": request.instance_id,
                "key_id": request.payer.key_id,
                "amount_pico": request.amount_pico,
                "claims": msgspec.json.encode(request.claims).decode(),
                "created_at": request.at,
            }
            for request in requests
            if kept and request.kept
        ]
        if rows:
            _ADD.run(batch, rows)
    return None


def _money(
    batch: Batch, requests: Sequence[Hold], money: Callable[[Batch, Claim, int], bool]
) -> EmbedRouterError | None:
    sums: Counter[Claim] = Counter()
    for request in requests:
        for claim in request.claims:
            sums[claim] += request.amount_pico
    for claim, amount in sorted(sums.items()):
        # What costs nothing fits even where a limit was lowered below what is spent.
        if amount and not money(batch, claim, amount):
            return _refused(batch, claim, requests[-1])
    return None


def _claim(batch: Batch, claim: Claim, amount: int) -> bool:
    return _CLAIM[claim.scope].run(batch, [_parameters(claim, amount)]) == 1


def _fit(batch: Batch, claim: Claim, amount: int) -> bool:
    """Whether it fits: of what is charged in this very transaction, which nobody else writes beside."""
    return bool(_FIT[claim.scope].value(batch, _parameters(claim, amount)))


def _rates(batch: Batch, requests: Sequence[Hold]) -> EmbedRouterError | None:
    by_key: dict[int, list[Hold]] = {}
    for request in requests:
        if request.payer.requests_per_minute is not None or request.payer.tokens_per_minute is not None:
            by_key.setdefault(request.payer.key_id, []).append(request)
    for key_id, some in sorted(by_key.items()):
        payer = some[0].payer
        now = max(request.at for request in some) * 1000
        wanted = [
            (column, limit, amount, amount * MINUTE // limit)  # rounded up, the last of a minute's would not fit it
            for column, limit, amount in (
                (key_rates.c.requests_tat, payer.requests_per_minute, len(some)),
                (key_rates.c.tokens_tat, payer.tokens_per_minute, sum(request.tokens for request in some)),
            )
            if limit is not None
        ]
        given = {"of_key": key_id, "now": now}
        for column, limit, amount, cost in wanted:
            given |= {f"{column.name}_cost": cost, f"{column.name}_ahead": now + MINUTE - cost}
            if amount > limit:
                return _too_fast(batch, column, limit, amount, cost, key_id, now)
        if len(wanted) == 2 and _RATES.run(batch, [given]) == 1:
            continue
        for column, limit, amount, cost in wanted:  # one by one, to say which it is that does not fit
            if _RATE[column.name].run(batch, [given]) != 1:
                return _too_fast(batch, column, limit, amount, cost, key_id, now)
    return None


def _concurrency(batch: Batch, requests: Sequence[Hold]) -> EmbedRouterError | None:
    by_key = Counter(request.payer.key_id for request in requests if request.payer.max_concurrent is not None)
    limits = {request.payer.key_id: request.payer.max_concurrent for request in requests}
    for key_id, count in by_key.items():
        most = limits[key_id]
        running = _RUNNING.value(batch, {"of_key": key_id})
        if most is not None and running + count > most:
            return too_many(most)
    return None


# --- refusing


def too_many(most: int) -> RateLimitExceededError:
    """The key has `most` requests under way already."""
    return RateLimitExceededError(
        f"the key may have {most} requests under way at once; wait for one to end",
        metadata={"limit": "max_concurrent", "allowed": most},
        retry_after=1,
    )


def _broadest(batch: Batch, refused: Claim, request: Hold) -> Claim:
    """Of several budgets that a request exceeds, the one that lasts longest. Those before it in order were claimed."""
    others = [one for one in request.claims if one[:2] == refused[:2] and one > refused]
    exceeded = [refused, *(one for one in others if not _fit(batch, one, request.amount_pico))]
    return max(exceeded, key=lambda one: _BREADTH.index(one.period))


def _refused(batch: Batch, claim: Claim, request: Hold) -> EmbedRouterError:
    claim = _broadest(batch, claim, request)
    used = select(spending.c.spent_pico + spending.c.held_pico).where(*_is(claim))
    limit = batch.connection.execute(select(_limit(claim.scope, *_ids(claim)))).scalar_one()
    left = max(0, limit - (batch.connection.execute(used).scalar() or 0))
    ends = end_of(claim.period, claim.start * SECOND)
    resets = None if ends is None else iso(ends * SECOND)
    metadata = {
        "limit": _LIMITS[claim.scope],
        "limit_usd": usd(limit),
        "remaining_usd": usd(left),
        "needed_usd": usd(request.amount_pico),
        "limit_reset": RESET_OF.get(claim.period),
        "resets_at": resets,
    }
    when = "" if resets is None else f"; it resets at {resets}"
    needs = f"the request costs ${usd_text(request.amount_pico)} and ${usd_text(left)} is left"
    if claim.scope == "account":
        return PaymentRequiredError(f"Insufficient credits: {needs}. Ask for a top-up", metadata=metadata)
    if claim.scope == "key":
        return PaymentRequiredError(f"The key's limit is used up: {needs}{when}", metadata=metadata)
    whose = "Workspace" if claim.scope == "workspace" else "Guardrail"
    return PermissionDeniedError(
        f"{whose} {INTERVAL_OF[claim.period]} budget of {usd_price(limit)} exceeded: {needs}{when}. Ask an "
        f"administrator to raise it",
        metadata=metadata,
    )


def _too_fast(
    batch: Batch, column: Any, limit: int, amount: int, cost: int, key_id: int, now: int
) -> RateLimitExceededError:
    what = "requests" if column is key_rates.c.requests_tat else "tokens"
    if amount > limit:
        return RateLimitExceededError(
            f"the request has {amount:,} {what}, more than the key's {limit:,} {what} a minute; send fewer at a time",
            metadata={"limit": f"{what}_per_minute", "allowed": limit},
        )
    tat = batch.connection.execute(select(column).where(key_rates.c.key_id == key_id)).scalar() or now
    wait = max(0, tat + cost - now - MINUTE)
    seconds = -(-wait // 1_000_000_000) or 1
    left = max(0, (now + MINUTE - tat) * limit // MINUTE)
    return RateLimitExceededError(
        f"the key's {limit:,} {what} a minute are used up; try again in {seconds} s",
        metadata={
            "limit": f"{what}_per_minute",
            "allowed": limit,
        },
        headers={
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str((now + wait) // 1_000_000),
        },
        retry_after=seconds,
    )


# --- statements


def _is(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        spending.c.scope == claim.scope,
        spending.c.scope_id == claim.scope_id,
        spending.c.period == claim.period,
        spending.c.start == claim.start,
    )


def _ids(claim: Claim) -> tuple[Any, Any]:
    return (int(claim.scope_id) if claim.scope == "key" else claim.scope_id), claim.period


def _parameters(claim: Claim, amount: int) -> dict[str, Any]:
    of, period = _ids(claim)
    return {"p_scope": claim.scope, "p_id": claim.scope_id, "p_period": period, "p_start": claim.start, "p_of": of,
            "amount": amount}  # fmt: skip


def _limit(scope: str, of: Any, period: Any) -> ColumnElement[int]:
    query = {
        "account": lambda: select(accounts.c.credited_pico).where(accounts.c.id == of),
        "workspace": lambda: select(budgets.c.limit_pico).where(
            budgets.c.workspace_id == of, budgets.c.period == period
        ),
        "guardrail": lambda: select(guardrails.c.limit_pico).where(guardrails.c.id == of),
        "key": lambda: select(api_keys.c.limit_pico).where(api_keys.c.id == of),
    }[scope]()
    return func.coalesce(query.scalar_subquery(), _NO_LIMIT, type_=BigInteger)


_ROW: Final = (
    spending.c.scope == bindparam("p_scope"),
    spending.c.scope_id == bindparam("p_id"),
    spending.c.period == bindparam("p_period"),
    spending.c.start == bindparam("p_start"),
)
_AMOUNT: Final = bindparam("amount", type_=BigInteger)
_UNCLAIM: Final = Statement(lambda _: update(spending).where(*_ROW).values(held_pico=spending.c.held_pico - _AMOUNT))
_ADD: Final = Statement(lambda _: insert(holds))
_MAKE_SPENDING: Final = Statement(lambda into: into(spending).on_conflict_do_nothing())
_MAKE_RATES: Final = Statement(lambda into: into(key_rates).on_conflict_do_nothing())
_RUNNING: Final = Statement(lambda _: select(func.count()).where(holds.c.key_id == bindparam("of_key")))
REMOVE: Final = Removal(holds, "id", "claims", "amount_pico")


def _fits(scope: str) -> tuple[ColumnElement[bool], ...]:
    """Whether what is spent, held and asked fits the limit as it is now."""
    used = spending.c.spent_pico + spending.c.held_pico
    return (*_ROW, used <= _limit(scope, bindparam("p_of"), bindparam("p_period")) - _AMOUNT)


def _claiming(scope: str) -> Statement:
    """The one conditional update."""
    changed = {"held_pico": spending.c.held_pico + _AMOUNT}
    return Statement(lambda _: update(spending).where(*_fits(scope)).values(changed))


def _fitting(scope: str) -> Statement:
    return Statement(lambda _: select(func.count()).select_from(spending).where(*_fits(scope)))


_SCOPES: Final = ("account", "workspace", "guardrail", "key")
_CLAIM: Final = {scope: _claiming(scope) for scope in _SCOPES}
_FIT: Final = {scope: _fitting(scope) for scope in _SCOPES}


def _rating(*columns: Any) -> Statement:
    now = bindparam("now", type_=BigInteger)
    fit, changed = [], {}
    for column in columns:
        # Behind now: idle. Far ahead: written before the clock jumped back.
        from_when = case(((column > now) & (column <= now + MINUTE + _SKEW), column), else_=now)
        fit.append(from_when <= bindparam(f"{column.name}_ahead", type_=BigInteger))
        changed[column] = from_when + bindparam(f"{column.name}_cost", type_=BigInteger)
    return Statement(lambda _: update(key_rates).where(key_rates.c.key_id == bindparam("of_key"), *fit).values(changed))


_RATE: Final = {column.name: _rating(column) for column in (key_rates.c.requests_tat, key_rates.c.tokens_tat)}
_RATES: Final = _rating(key_rates.c.requests_tat, key_rates.c.tokens_tat)


def _make_rows(batch: Batch, requests: Sequence[Hold]) -> None:
    """The rows that the conditional updates look for."""
    claims = sorted({claim for request in requests for claim in request.claims})
    if claims:
        rows = [{**claim._asdict(), "spent_pico": 0, "held_pico": 0, "last_at": 0} for claim in claims]
        _MAKE_SPENDING.run(batch, rows)
    keys = sorted(
        {
            request.payer.key_id
            for request in requests
            if request.payer.requests_per_minute is not None or request.payer.tokens_per_minute is not None
        }
    )
    if keys:
        rows = [{"key_id": key_id, "requests_tat": 0, "tokens_tat": 0} for key_id in keys]
        _MAKE_RATES.run(batch, rows)


def _not_yet_held(batch: Batch, requests: Sequence[Hold]) -> list[Hold]:
    there = set(batch.connection.execute(select(holds.c.id).where(holds.c.id.in_([r.id for r in requests]))).scalars())
    return [request for request in requests if request.id not in there]
