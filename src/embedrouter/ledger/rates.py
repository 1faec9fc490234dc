"""Requests and tokens a minute: one moment each (GCRA's theoretical arrival time), moved on by conditional updates."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, bindparam, case, select, update

from embedrouter.errors import RateLimitExceededError
from embedrouter.store import Batch, Statement
from embedrouter.store.tables import key_rates

MINUTE: Final = 60_000_000_000  # nanoseconds
_SKEW: Final = 5_000_000_000  # nanoseconds; a rate further ahead than its minute and this is of a clock that jumped
_COLUMNS: Final = (key_rates.c.requests_tat, key_rates.c.tokens_tat)


class Rated(NamedTuple):
    """What arrives of one key together."""

    key_id: int
    limits: tuple[int | None, int | None]  # requests, tokens a minute
    amounts: tuple[int, int]
    beside: int  # requests that are on their way, and take it off when they are settled
    now: int  # nanoseconds


class _Wanted(NamedTuple):
    column: Any
    limit: int
    amount: int
    beside: int

    @property
    def cost(self) -> int:
        """Nanoseconds to take."""
        return cost_of(self.amount, self.limit)

    @property
    def needed(self) -> int:
        """Nanoseconds that must be there."""
        return cost_of(self.amount + self.beside, self.limit)


class Ahead(NamedTuple):
    """Up to when a key has used up its rates, in nanoseconds."""

    requests: int
    tokens: int


def cost_of(amount: int, limit: int) -> int:
    """Nanoseconds of the bucket; rounded down: rounded up, the last of a minute's would not fit it."""
    return amount * MINUTE // limit


def advance(batch: Batch, rated: Rated) -> RateLimitExceededError | None:
    """Take it off the key's rates, or say what refuses it; of two rates the first may have moved then."""
    wanted = [
        _Wanted(column, limit, amount, beside)
        for column, limit, amount, beside in zip(_COLUMNS, rated.limits, rated.amounts, (rated.beside, 0), strict=True)
        if limit is not None
    ]
    given = {"of_key": rated.key_id, "now": rated.now}
    for one in wanted:
        given |= {
            f"{one.column.name}_cost": one.cost,
            f"{one.column.name}_ahead": rated.now + MINUTE - one.needed,
        }
        if one.amount > one.limit:
            return _too_fast(batch, rated, one)
    if len(wanted) == 2 and _BOTH.run(batch, [given]) == 1:
        return None
    for one in wanted:  # one by one, to say which it is that does not fit
        if _ONE[one.column.name].run(batch, [given]) != 1:
            return _too_fast(batch, rated, one)
    return None


def ahead_of(batch: Batch, key_id: int) -> Ahead | None:
    """None where there is no row yet."""
    found = _AHEAD.row(batch, {"of_key": key_id})
    return None if found is None else Ahead(*found)


def make_rows(batch: Batch, keys: Iterable[int]) -> None:
    """The rows that the conditional updates look for."""
    rows = [{"key_id": key_id, "requests_tat": 0, "tokens_tat": 0} for key_id in sorted(set(keys))]
    if rows:
        _MAKE.run(batch, rows)


def _too_fast(batch: Batch, rated: Rated, wanted: _Wanted) -> RateLimitExceededError:
    column, limit, amount, _ = wanted
    what = "requests" if column is key_rates.c.requests_tat else "tokens"
    if amount > limit:
        return RateLimitExceededError(
            f"the request has {amount:,} {what}, more than the key's {limit:,} {what} a minute; send fewer at a time",
            metadata={"limit": f"{what}_per_minute", "allowed": limit},
        )
    now = rated.now
    tat = batch.connection.execute(select(column).where(key_rates.c.key_id == rated.key_id)).scalar() or now
    wait = max(0, tat + wanted.needed - now - MINUTE)
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


def _rating(*columns: Any) -> Statement:
    now = bindparam("now", type_=BigInteger)
    fit, changed = [], {}
    for column in columns:
        # Behind now: idle. Far ahead: written before the clock jumped back.
        from_when = case(((column > now) & (column <= now + MINUTE + _SKEW), column), else_=now)
        fit.append(from_when <= bindparam(f"{column.name}_ahead", type_=BigInteger))
        changed[column] = from_when + bindparam(f"{column.name}_cost", type_=BigInteger)
    return Statement(lambda _: update(key_rates).where(key_rates.c.key_id == bindparam("of_key"), *fit).values(changed))


_ONE: Final = {column.name: _rating(column) for column in _COLUMNS}
_BOTH: Final = _rating(*_COLUMNS)
_AHEAD: Final = Statement(lambda _: select(*_COLUMNS).where(key_rates.c.key_id == bindparam("of_key")))


def _make(into: Any) -> Any:
    return into(key_rates).on_conflict_do_nothing()


_MAKE: Final = Statement(_make)
