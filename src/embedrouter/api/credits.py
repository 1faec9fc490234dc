"""/credits: what was credited and used, and the ledger. With a management key."""

import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import HeaderParameter, QueryParameter
from msgspec import Meta

from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.context import Context
from embedrouter.errors import InvalidRequestError
from embedrouter.fields import plain
from embedrouter.ledger.book import now
from embedrouter.ledger.credits import Balance, Credit, add, balance, count_entries, entries
from embedrouter.money import MOST, PICO, pico_usd, usd
from embedrouter.periods import iso

_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")
_AUTO: Final = "auto:"  # begins the idempotency keys of those who send none

Amount = Annotated[float, Meta(ge=-(MOST // PICO), le=MOST // PICO, description="USD; an adjustment may be negative")]


class AddCredit(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /credits."""

    amount: Amount
    reason: Annotated[str, Meta(min_length=1, max_length=500, description="Why, for whoever reads the ledger")]
    kind: Literal["top_up", "adjustment"] = "top_up"


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """In USD."""

    total_credits: float
    total_usage: float


class TotalsAnswer(msgspec.Struct, frozen=True):
    """What GET /credits answers."""

    data: Totals


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A movement of money. Usage is one entry a key and UTC day."""

    id: str
    kind: Literal["top_up", "adjustment", "usage"]
    amount: float  # USD, what it adds to the balance
    created_at: str
    actor: str
    reason: str
    idempotency_key: str | None
    key_hash: str | None  # of usage


class AddedCredit(Totals, frozen=True, kw_only=True):
    """The entry that was made, and the balance after it."""

    entry: LedgerEntry
    available: float  # USD that may still be reserved; what requests under way hold is gone, too


class AddedCreditAnswer(msgspec.Struct, frozen=True):
    """What POST /credits answers."""

    data: AddedCredit


class LedgerPage(msgspec.Struct, frozen=True):
    """A page of the ledger, the newest first."""

    data: list[LedgerEntry]
    total_count: int


_ADD: Final = msgspec.json.Decoder(AddCredit)


@get("/credits", summary="Get the credits", tags=["Credits"], operation_id="getCredits", opt=MANAGEMENT)
async def get_credits(context: Context) -> TotalsAnswer:
    """All that was ever credited, and all that was ever used."""
    return TotalsAnswer(Totals(**_totals(await context.database.read(balance))))


@post("/credits", summary="Add credits", tags=["Credits"], operation_id="addCredits", opt=MANAGEMENT)
async def add_credits(
    request: Request[Any, Any, Any],
    context: Context,
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            description="1 to 255 printable ASCII characters; the same key books a credit once.",
        ),
    ] = None,
) -> AddedCreditAnswer:
    """Books a top-up or an adjustment in the ledger, with who did it and why."""
    wanted = await read_small(request, _ADD, context.settings.body_timeout_s)
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidRequestError(
            "Idempotency-Key: must be 1 to 255 printable ASCII characters", metadata={"field": "Idempotency-Key"}
        )
    credit = Credit(
        kind=wanted.kind,
        amount_pico=pico_usd(wanted.amount),
        actor=f"key:{caller_of(request).key.label}",
        reason=plain("reason", wanted.reason),
        at=now(),
        # A broken connection makes the writer try again: only what has a key is then booked once.
        idempotency_key=idempotency_key or _AUTO + secrets.token_hex(16),
    )
    entry = await context.writer.write(add, credit)
    after = await context.database.read(balance)
    return AddedCreditAnswer(AddedCredit(entry=_entry(entry), available=usd(after.available_pico), **_totals(after)))


@get("/credits/ledger", summary="List the ledger", tags=["Credits"], operation_id="listLedger", opt=MANAGEMENT)
async def list_ledger(
    context: Context,
    offset: Annotated[int, QueryParameter(ge=0, le=1_000_000_000, description="Entries to pass over.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="Entries to return at most.")] = 50,
) -> LedgerPage:
    """Every movement of money, the newest first."""

    def query(connection: Any) -> LedgerPage:
        found = entries(connection, limit=limit, offset=offset)
        return LedgerPage([_entry(row) for row in found], count_entries(connection))

    return await context.database.read(query)


def _totals(of: Balance) -> dict[str, float]:
    return {"total_credits": usd(of.credited_pico), "total_usage": usd(of.spent_pico)}


def _entry(row: Mapping[Any, Any]) -> LedgerEntry:
    key = row["idempotency_key"]
    return LedgerEntry(
        id=row["id"],
        kind=row["kind"],
        amount=usd(row["amount_pico"]),
        created_at=iso(row["created_at"]),
        actor=row["actor"],
        reason=row["reason"],
        idempotency_key=None if key is None or key.startswith(_AUTO) else key,
        key_hash=row.get("key_hash"),
    )
