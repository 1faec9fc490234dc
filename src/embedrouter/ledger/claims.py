"""Claims on limited money: conditional updates of counters, so that the database decides, across all processes.

What a request costs is claimed in each counter that limits it: its account's balance, its workspace's and its
guardrails' budgets, its key's limit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, and_, bindparam, case, exists, false, or_, select, update
from sqlalchemy.sql import ColumnElement, FromClause

from embedrouter.errors import EmbedRouterError, PaymentRequiredError, PermissionDeniedError
from embedrouter.money import usd, usd_price, usd_text
from embedrouter.periods import INTERVAL_OF, INTERVALS, RESET_OF, SECOND, Period, end_of, iso
from embedrouter.store import Batch, Statement
from embedrouter.store.tables import accounts, api_keys, budgets, guardrails, spending, workspaces

_BREADTH: Final = tuple(INTERVALS.values())  # the narrowest first
_LIMITS: Final = {"account": "balance", "workspace": "budget", "guardrail": "guardrail_budget", "key": "key_limit"}
_NO_LIMIT: Final = (1 << 63) - 1


class Claim(NamedTuple):
    """One row of `spending` whose limit a request must fit."""

    scope: str  # account, workspace, key, guardrail
    scope_id: str
    period: Period
    start: int


CLAIMS: Final = msgspec.json.Decoder(tuple[Claim, ...])


class Amount(NamedTuple):
    """What a request asks of its limits, in pico-USD."""

    pico: int  # of every one
    byok_pico: int = 0  # beyond that, of those that count what own credentials pay for; never of the balance

    def of(self, *, counts_byok: bool) -> int:
        """What a limit is asked for."""
        return self.pico + self.byok_pico if counts_byok else self.pico


NOTHING: Final = Amount(0)


class Left(NamedTuple):
    """What is neither spent nor held of a limit."""

    pico: int
    counts_byok: bool  # whether the limit counts what own credentials pay for

    def fits(self, amount: Amount, beside: Amount) -> bool:
        """What costs nothing always does, also where a limit was lowered below what is spent."""
        asked = amount.of(counts_byok=self.counts_byok)
        return not asked or asked + beside.of(counts_byok=self.counts_byok) <= self.pico

    def less(self, amount: Amount) -> "Left":
        """After it."""
        return Left(self.pico - amount.of(counts_byok=self.counts_byok), self.counts_byok)


NOTHING_LEFT: Final = Left(0, counts_byok=True)

Taker = Callable[[Batch, Claim, Amount, Amount], bool]
"""What to do with an amount where so much else is on its way: whether it fits."""


class Fitting:
    """A Taker of what is charged in this very transaction, which nobody else writes beside: it need only fit."""

    def __init__(self) -> None:
        self.left: dict[Claim, Left] = {}  # after it

    def __call__(self, batch: Batch, claim: Claim, amount: Amount, beside: Amount) -> bool:
        """Whether it fits."""
        left = left_of(batch, claim)
        if left is None or not left.fits(amount, beside):
            return False
        self.left[claim] = left.less(amount)
        return True


def claim(batch: Batch, wanted: Claim, amount: Amount, beside: Amount) -> bool:
    """A Taker that holds it until it is given back."""
    given = {
        **_parameters(wanted),
        "amount": amount.pico,
        "byok": amount.byok_pico,
        "asked": amount.pico + beside.pico,
        "byok_asked": amount.byok_pico + beside.byok_pico,
    }
    return _CLAIM[wanted.scope].run(batch, [given]) == 1


def left_of(batch: Batch, wanted: Claim) -> Left | None:
    """What may still be asked for; None where there is no row yet."""
    found = _standing(batch, wanted)
    return None if found is None else found.left


def unclaim(batch: Batch, sums: Mapping[Claim, Amount]) -> None:
    """Give back what was held."""
    changes = [
        {**_parameters(one), "amount": amount.pico, "byok": amount.byok_pico} for one, amount in sorted(sums.items())
    ]
    if changes:
        _UNCLAIM.run(batch, changes)


def make_rows(batch: Batch, wanted: Iterable[Claim]) -> None:
    """The rows that the conditional updates look for."""
    nothing = {"spent_pico": 0, "held_pico": 0, "last_at": 0, "byok_pico": 0, "byok_held_pico": 0}
    rows = [{**one._asdict(), **nothing} for one in sorted(set(wanted))]
    if rows:
        _MAKE.run(batch, rows)


def summed(wanted: Iterable[tuple[Sequence[Claim], Amount]]) -> dict[Claim, Amount]:
    """What is asked of each counter that is asked for anything."""
    sums: dict[Claim, Amount] = {}
    for claims, amount in wanted:
        for one in claims:
            pico, byok = amount if one.scope != "account" else (amount.pico, 0)
            if pico or byok:
                known = sums.get(one, NOTHING)
                sums[one] = Amount(known.pico + pico, known.byok_pico + byok)
    return sums


def refused(batch: Batch, by: Claim, asked: Sequence[Claim], amount: Amount) -> EmbedRouterError:
    """Says what is left of the limit. by: the first of those asked, in order, that the amount did not fit."""
    by = _broadest(batch, by, asked, amount)
    found = _standing(batch, by) or _Standing(0, False, 0)  # its row is made before anybody is told
    limit, needed = found.limit or 0, amount.of(counts_byok=found.counts_byok)
    left = max(0, found.left.pico)
    ends = end_of(by.period, by.start * SECOND)
    resets = None if ends is None else iso(ends * SECOND)
    metadata = {
        "limit": _LIMITS[by.scope],
        "limit_usd": usd(limit),
        "remaining_usd": usd(left),
        "needed_usd": usd(needed),
        "include_byok": found.counts_byok,
        "limit_reset": RESET_OF.get(by.period),
        "resets_at": resets,
    }
    when = "" if resets is None else f"; it resets at {resets}"
    needs = f"the request costs ${usd_text(needed)} and ${usd_text(left)} is left"
    if by.scope == "account":
        return PaymentRequiredError(f"Insufficient credits: {needs}. Ask for a top-up", metadata=metadata)
    if by.scope == "key":
        return PaymentRequiredError(f"The key's limit is used up: {needs}{when}", metadata=metadata)
    whose = "Workspace" if by.scope == "workspace" else "Guardrail"
    return PermissionDeniedError(
        f"{whose} {INTERVAL_OF[by.period]} budget of {usd_price(limit)} exceeded: {needs}{when}. Ask an "
        f"administrator to raise it",
        metadata=metadata,
    )


def _broadest(batch: Batch, by: Claim, asked: Sequence[Claim], amount: Amount) -> Claim:
    """Of several budgets that a request exceeds, the one that lasts longest. Those before it in order were claimed."""
    others = [one for one in asked if one[:2] == by[:2] and one > by]
    exceeded = [by, *(one for one in others if not (left_of(batch, one) or NOTHING_LEFT).fits(amount, NOTHING))]
    return max(exceeded, key=lambda one: _BREADTH.index(one.period))


class _Standing(NamedTuple):
    """A limit, and what is spent and held of it."""

    limit: int | None
    counts_byok: bool
    used: int

    @property
    def left(self) -> Left:
        return Left((_NO_LIMIT if self.limit is None else self.limit) - self.used, self.counts_byok)


def _standing(batch: Batch, wanted: Claim) -> _Standing | None:
    found = _STANDING[wanted.scope].row(batch, _parameters(wanted))
    if found is None:
        return None
    limit, counts, used, byok = found
    return _Standing(limit, bool(counts), used + byok if counts else used)


# --- statements


def _ids(one: Claim) -> tuple[Any, Any]:
    return (int(one.scope_id) if one.scope == "key" else one.scope_id), one.period


def _parameters(one: Claim) -> dict[str, Any]:
    of, period = _ids(one)
    return {"p_scope": one.scope, "p_id": one.scope_id, "p_period": period, "p_start": one.start, "p_of": of}


class _Limit(NamedTuple):
    """Where a scope's limit is."""

    pico: ColumnElement[Any]
    counts_byok: ColumnElement[bool]
    table: FromClause
    of: tuple[ColumnElement[bool], ...]  # which row


_OF: Final[ColumnElement[Any]] = bindparam("p_of")
_LIMIT: Final = {
    "account": _Limit(accounts.c.credited_pico, false(), accounts, (accounts.c.id == _OF,)),
    "workspace": _Limit(
        budgets.c.limit_pico,
        workspaces.c.include_byok_in_budgets,
        budgets.join(workspaces),
        (budgets.c.workspace_id == _OF, budgets.c.period == bindparam("p_period")),
    ),
    "guardrail": _Limit(
        guardrails.c.limit_pico, guardrails.c.include_byok_in_budgets, guardrails, (guardrails.c.id == _OF,)
    ),
    "key": _Limit(api_keys.c.limit_pico, api_keys.c.include_byok_in_limit, api_keys, (api_keys.c.id == _OF,)),
}
_ROW: Final = (
    spending.c.scope == bindparam("p_scope"),
    spending.c.scope_id == bindparam("p_id"),
    spending.c.period == bindparam("p_period"),
    spending.c.start == bindparam("p_start"),
)
_USED: Final = spending.c.spent_pico + spending.c.held_pico
_BYOK_USED: Final = spending.c.byok_pico + spending.c.byok_held_pico
_MAKE: Final = Statement(lambda into: into(spending).on_conflict_do_nothing())


def _pico(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


def _claiming(limit: _Limit) -> Statement:
    """The one conditional update: whether what is spent, held and asked fits the limit as it is now, as `Left.fits`."""
    asked = _pico("asked") + case((limit.counts_byok, _pico("byok_asked")), else_=0)
    used = _USED + case((limit.counts_byok, _BYOK_USED), else_=0)
    exceeded = exists().where(
        *limit.of, or_(limit.counts_byok, _pico("amount") > 0), limit.pico - asked < used
    ).select_from(limit.table).correlate(spending)  # fmt: skip
    held = {
        "held_pico": spending.c.held_pico + _pico("amount"),
        "byok_held_pico": spending.c.byok_held_pico + _pico("byok"),
    }
    return Statement(lambda _: update(spending).where(*_ROW, ~exceeded).values(held))


def _telling(limit: _Limit) -> Statement:
    of = spending.join(limit.table, and_(*limit.of), isouter=True)
    return Statement(lambda _: select(limit.pico, limit.counts_byok, _USED, _BYOK_USED).select_from(of).where(*_ROW))


_UNCLAIM: Final = Statement(
    lambda _: update(spending).where(*_ROW).values(
        held_pico=spending.c.held_pico - _pico("amount"), byok_held_pico=spending.c.byok_held_pico - _pico("byok")
    )
)  # fmt: skip
_CLAIM: Final = {scope: _claiming(limit) for scope, limit in _LIMIT.items()}
_STANDING: Final = {scope: _telling(limit) for scope, limit in _LIMIT.items()}
