"""Reserving money and rate before a request runs; exact across processes, since the database decides.

All claims and rates of a request hold, or none. Requests that arrive together are tried as one; only if that does not
fit, each by itself.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import bindparam, func, insert, select

from embedrouter.errors import EmbedRouterError, PaymentRequiredError, RateLimitExceededError
from embedrouter.ledger import claims, rates
from embedrouter.ledger.claims import CLAIMS, NOTHING, Amount, Claim, Fitting, Left, Taker, summed
from embedrouter.ledger.payer import Payer
from embedrouter.ledger.rates import Ahead, Rated
from embedrouter.money import PICO, usd
from embedrouter.store import Batch, Removal, Statement, savepoint
from embedrouter.store.tables import holds

_MOST_AT_ONCE: Final = 4_000_000 * PICO  # pico-USD of one request: taken from the lowest balance, it fits 64 bits


class Hold(NamedTuple):
    """A request for admission; once granted, what is reserved for it."""

    id: str  # the generation's
    instance_id: str
    payer: Payer
    claims: tuple[Claim, ...]
    amount: Amount
    tokens: int
    at: int  # microseconds
    # What else is on its way, and is charged when it is settled: of each claim, and requests.
    beside: tuple[Amount, ...] = ()
    beside_requests: int = 0

    @property
    def kept(self) -> bool:
        """Whether a row remembers it until it is settled or released."""
        return bool(self.claims) or self.payer.max_concurrent is not None


class Room(NamedTuple):
    """What was left of the limits that a transaction looked at."""

    money: dict[Claim, Left]
    rates: dict[int, Ahead]  # by key id


def hold(batch: Batch, requests: Sequence[Hold]) -> Sequence[Hold | Exception]:
    """The writer's handler: grants each request, or says what refuses it."""
    refusals = _decide(batch, _not_yet_held(batch, requests) if batch.again else requests, kept=True)
    return [refusals.get(request.id, request) for request in requests]


hold.takes = True  # type: ignore[attr-defined]  # the writer has those who give back go first


def admit(batch: Batch, requests: Sequence[Hold], room: Room) -> dict[str, Exception]:
    """Decide as `hold` does about requests that are charged in this very transaction; the refusals, by id.

    room: gets what is left when all were admitted.
    """
    if not requests:
        return {}
    fitting = Fitting()
    if _grant(batch, requests, fitting) is None:  # as mostly: then nothing need be claimed
        room.money.update(fitting.left)
        return {}
    refusals = _decide(batch, requests, kept=False)
    claims.unclaim(batch, summed((one.claims, one.amount) for one in requests if one.id not in refusals))
    return refusals


def free(batch: Batch, found: Iterable[tuple[str, Amount]]) -> None:
    """Take the claims of hold rows, already deleted, back out of `spending`. found: their claims and amounts."""
    claims.unclaim(batch, summed((CLAIMS.decode(text), amount) for text, amount in found if amount != NOTHING))


def release(batch: Batch, ids: Sequence[str]) -> Sequence[None]:
    """The writer's handler: gives back what was reserved. Once: what is not held any more is passed over."""
    free(batch, [(text, Amount(*amount)) for _, text, *amount in REMOVE.run(batch, ids)])
    return [None] * len(ids)


def too_many(most: int) -> RateLimitExceededError:
    """The key has `most` requests under way already."""
    return RateLimitExceededError(
        f"the key may have {most} requests under way at once; wait for one to end",
        metadata={"limit": "max_concurrent", "allowed": most},
        retry_after=1,
    )


def _decide(batch: Batch, requests: Sequence[Hold], *, kept: bool) -> dict[str, Exception]:
    """Claim what each request costs, all together if that fits, else one by one; the refusals, by id.

    kept: a row remembers each.
    """
    if _grant(batch, requests, claims.claim, kept=kept) is None:
        return {}
    claims.make_rows(batch, (one for request in requests for one in request.claims))
    rates.make_rows(batch, (request.payer.key_id for request in requests if request.payer.rated))
    refusals: dict[str, Exception] = {}
    for request in requests:
        refusal = _grant(batch, [request], claims.claim, kept=kept)
        if refusal is not None:
            refusals[request.id] = refusal
    return refusals


def _grant(batch: Batch, requests: Sequence[Hold], take: Taker, *, kept: bool = False) -> EmbedRouterError | None:
    """All of them, or nothing is changed and what refused it is returned."""
    if not requests:
        return None
    if any(sum(request.amount) > _MOST_AT_ONCE for request in requests):
        return PaymentRequiredError(f"a request may cost at most {usd(_MOST_AT_ONCE):,.0f} USD")
    with savepoint(batch) as undo:
        refusal = _rates(batch, requests) or _concurrency(batch, requests) or _money(batch, requests, take)
        if refusal is not None:
            undo()
            return refusal
        rows = [
            {
                "id": request.id,
                "instance_id": request.instance_id,
                "key_id": request.payer.key_id,
                "amount_pico": request.amount.pico,
                "claims": msgspec.json.encode(request.claims).decode(),
                "created_at": request.at,
                "byok_pico": request.amount.byok_pico,
            }
            for request in requests
            if kept and request.kept
        ]
        if rows:
            _ADD.run(batch, rows)
    return None


def _money(batch: Batch, requests: Sequence[Hold], take: Taker) -> EmbedRouterError | None:
    beside = {one: much for request in requests for one, much in zip(request.claims, request.beside, strict=False)}
    for one, amount in sorted(summed((request.claims, request.amount) for request in requests).items()):
        if not take(batch, one, amount, beside.get(one, NOTHING)):
            return claims.refused(batch, one, requests[-1].claims, requests[-1].amount)
    return None


def _rates(batch: Batch, requests: Sequence[Hold]) -> EmbedRouterError | None:
    by_key: dict[int, list[Hold]] = {}
    for request in requests:
        if request.payer.rated:
            by_key.setdefault(request.payer.key_id, []).append(request)
    for key_id, some in sorted(by_key.items()):
        payer = some[0].payer
        rated = Rated(
            key_id,
            (payer.requests_per_minute, payer.tokens_per_minute),
            (len(some), sum(request.tokens for request in some)),
            max(request.beside_requests for request in some),
            max(request.at for request in some) * 1000,
        )
        refusal = rates.advance(batch, rated)
        if refusal is not None:
            return refusal
    return None


def _concurrency(batch: Batch, requests: Sequence[Hold]) -> EmbedRouterError | None:
    by_key = Counter(request.payer.key_id for request in requests if request.payer.max_concurrent is not None)
    limits = {request.payer.key_id: request.payer.max_concurrent for request in requests}
    for key_id, count in by_key.items():
        most = limits[key_id]
        running = _RUNNING.row(batch, {"of_key": key_id})
        if most is not None and running is not None and running[0] + count > most:
            return too_many(most)
    return None


def _not_yet_held(batch: Batch, requests: Sequence[Hold]) -> list[Hold]:
    there = set(batch.connection.execute(select(holds.c.id).where(holds.c.id.in_([r.id for r in requests]))).scalars())
    return [request for request in requests if request.id not in there]


_ADD: Final = Statement(lambda _: insert(holds))
_RUNNING: Final = Statement(lambda _: select(func.count()).where(holds.c.key_id == bindparam("of_key")))
REMOVE: Final = Removal(holds, "id", "claims", "amount_pico", "byok_pico")
