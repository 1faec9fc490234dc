"""Credits: top-ups and adjustments as ledger entries, each with an actor and a reason, idempotent by key."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from embedrouter.errors import ConflictError, InvalidRequestError
from embedrouter.money import MOST, usd
from embedrouter.store import Batch
from embedrouter.store.tables import accounts, api_keys, ledger, spending

ACCOUNT: Final = "main"  # the installation's one account; made by the first start


class Credit(NamedTuple):
    """An amount to add, or to take if it is negative."""

    kind: Literal["top_up", "adjustment"]
    amount_pico: int
    actor: str
    reason: str
    at: int  # microseconds
    idempotency_key: str | None = None
    account_id: str = ACCOUNT


class Balance(NamedTuple):
    """Of an account, in pico-USD."""

    credited_pico: int
    spent_pico: int
    held_pico: int

    @property
    def available_pico(self) -> int:
        """What may still be reserved; negative when more was used than credited, which only `track` lets happen."""
        return self.credited_pico - self.spent_pico - self.held_pico


def add(batch: Batch, wanted: Sequence[Credit]) -> Sequence[Mapping[Any, Any] | Exception]:
    """The writer's handler: books each credit once; answers with its ledger entry."""
    return [_add(batch, credit) for credit in wanted]


def balance(connection: Connection, account_id: str = ACCOUNT) -> Balance:
    """An account's balance."""
    credited = connection.execute(select(accounts.c.credited_pico).where(accounts.c.id == account_id)).scalar_one()
    row = connection.execute(
        select(spending.c.spent_pico, spending.c.held_pico).where(
            spending.c.scope == "account", spending.c.scope_id == account_id, spending.c.period == "total"
        )
    ).one_or_none()
    return Balance(credited, *(row or (0, 0)))


def entries(connection: Connection, *, limit: int = 50, offset: int = 0) -> list[RowMapping]:
    """The ledger, the newest first; `key_hash` names the key whose usage an entry is."""
    page = select(ledger).order_by(ledger.c.created_at.desc(), ledger.c.id).limit(limit).offset(offset).subquery()
    query = select(page, api_keys.c.hash.label("key_hash")).outerjoin(api_keys, api_keys.c.id == page.c.key_id)
    return list(connection.execute(query.order_by(page.c.created_at.desc(), page.c.id)).mappings())


def count_entries(connection: Connection) -> int:
    """How many entries the ledger has."""
    return connection.execute(select(func.count()).select_from(ledger)).scalar_one()


def _add(batch: Batch, credit: Credit) -> Mapping[Any, Any] | Exception:
    connection = batch.connection
    if credit.amount_pico == 0 or (credit.kind == "top_up" and credit.amount_pico < 0):
        return InvalidRequestError(
            "a top-up must be more than 0 USD, an adjustment not 0", metadata={"field": "amount"}
        )
    row = {
        "id": _entry_id(credit),
        "account_id": credit.account_id,
        "kind": credit.kind,
        "amount_pico": credit.amount_pico,
        "created_at": credit.at,
        "actor": credit.actor,
        "reason": credit.reason,
        "idempotency_key": credit.idempotency_key,
    }
    if batch.again and credit.idempotency_key is None:  # then the first try may have booked it
        same_entry = [ledger.c[name] == value for name, value in row.items() if name not in ("id", "idempotency_key")]
        booked = connection.execute(select(ledger).where(*same_entry)).mappings().first()
        if booked is not None:
            return booked
    if credit.idempotency_key is not None:
        booked = connection.execute(
            select(ledger).where(ledger.c.idempotency_key == credit.idempotency_key)
        ).mappings().one_or_none()  # fmt: skip
        if booked is not None:
            same = all(booked[name] == row[name] for name in ("account_id", "kind", "amount_pico", "reason"))
            return booked if same else ConflictError("this idempotency key was used for a different credit")
    grown = connection.execute(
        update(accounts)
        .where(
            accounts.c.id == credit.account_id,
            accounts.c.credited_pico <= MOST - max(0, credit.amount_pico),  # no sum here leaves 64 bits
            accounts.c.credited_pico >= -MOST - min(0, credit.amount_pico),
        )
        .values(credited_pico=accounts.c.credited_pico + credit.amount_pico)
    )
    if grown.rowcount != 1:
        return InvalidRequestError(f"all credits together may be at most {usd(MOST):,.0f} USD")
    connection.execute(insert(ledger), row)
    return row


def _entry_id(credit: Credit) -> str:
    if credit.idempotency_key is None:
        return f"credit:{secrets.token_hex(12)}"
    return f"credit:{hashlib.sha256(credit.idempotency_key.encode()).hexdigest()[:48]}"
