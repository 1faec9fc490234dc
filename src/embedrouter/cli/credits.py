"""embedrouter credits: what was paid in, what is left, and the budgets of workspaces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    facts,
    moment,
    money_of,
    plain,
    show,
    table,
    text_of,
    told,
)
from embedrouter.cli.store import actor, reading, writing
from embedrouter.errors import InvalidRequestError
from embedrouter.money import usd, usd_text
from embedrouter.periods import Period, iso

if TYPE_CHECKING:
    from embedrouter.accounts.workspaces import Budget
    from embedrouter.ledger.credits import Balance

app = typer.Typer(help="Credits: the balance, top-ups, adjustments, budgets.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stays in the ledger.")]
IdempotencyOption = Annotated[
    str | None, typer.Option("--idempotency-key", help="Book this once, however often it is asked.")
]


class Standing(msgspec.Struct, frozen=True):
    """A balance in USD."""

    credited: float
    spent: float
    held: float
    available: float


class Entry(msgspec.Struct, frozen=True):
    """A row of the ledger; the amount is USD, exact, and what it adds to the balance."""

    id: str
    kind: str
    amount: str
    actor: str
    reason: str
    created_at: str
    idempotency_key: str | None


class Booked(msgspec.Struct, frozen=True):
    """What `add` and `adjust` print."""

    entry: Entry
    balance: Standing


class BudgetShown(msgspec.Struct, frozen=True):
    """A workspace's budget in USD, and what is used of it in the period that runs."""

    workspace: str
    period: str
    limit: float
    spent: float
    held: float


@app.command("show")
def show_balance(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was credited, spent, is held and is left."""
    with told():
        from embedrouter.ledger.credits import balance

        with reading(config, data_dir, database_url) as store:
            found = _standing(store.read(balance))
        show(found, as_json, lambda: _print(found))


@app.command()
def add(
    amount: Annotated[str, typer.Argument(help="USD, more than 0.", metavar="USD")],
    reason: ReasonOption,
    idempotency_key: IdempotencyOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Top the balance up."""
    with told():
        _book("top_up", amount, reason, idempotency_key, config, data_dir, database_url, as_json)


@app.command(context_settings={"ignore_unknown_options": True})  # -5 is an amount
def adjust(
    reason: ReasonOption,
    amount: Annotated[
        str | None, typer.Argument(help="USD to add; to take, if negative.", metavar="[USD]", show_default=False)
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="The same, as an option.", metavar="USD")] = None,
    idempotency_key: IdempotencyOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Correct the balance, up or down: `adjust -5 --reason refund`."""
    with told():
        if (amount is None) == (by is None):
            raise InvalidRequestError("give one amount: embedrouter credits adjust -5, or --by -5")
        _book("adjustment", amount or by or "", reason, idempotency_key, config, data_dir, database_url, as_json)


@app.command()
def ledger(
    limit: Annotated[int, typer.Option(help="How many entries.", min=1, max=1_000_000)] = 50,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every movement of money, the newest first; charges are one entry a key and UTC day."""
    with told():
        from embedrouter.ledger.credits import entries

        with reading(config, data_dir, database_url) as store:
            rows = store.database.read_now(lambda connection: entries(connection, limit=limit))
        found = [_entry(row) for row in rows]
        show(
            found,
            as_json,
            lambda: table(
                ("time", "kind", "USD", "actor", "reason"),
                [
                    (moment(row["created_at"]), one.kind, one.amount, one.actor, one.reason)
                    for row, one in zip(rows, found, strict=True)
                ],
            ),
        )


@app.command()
def budget(
    period: Annotated[
        Literal["day", "week", "month", "total"] | None, typer.Option(help="Of which UTC period.", show_default=False)
    ] = None,
    limit: Annotated[str | None, typer.Option(help="USD, or none.", metavar="USD", show_default=False)] = None,
    workspace: Annotated[str, typer.Option(help="The workspace's slug.")] = "default",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set what a workspace may spend in a period; without options, list all budgets."""
    with told():
        from embedrouter.accounts.workspaces import BudgetChange, change_budget, list_budgets
        from embedrouter.ledger.book import now

        if (period is None) != (limit is None):
            raise InvalidRequestError("give both --period and --limit, or neither to list the budgets")
        if period is None or limit is None:
            with reading(config, data_dir, database_url) as store:
                found = store.read(list_budgets, now())
        else:
            of: Period = period
            most = None if limit == "none" else money_of("--limit", limit)
            with writing(config, data_dir, database_url) as writer:
                writer.write(change_budget, BudgetChange(workspace, of, most))
                found = writer.opened.read(list_budgets, now())
        _show_budgets(found, as_json)


def _book(
    kind: Literal["top_up", "adjustment"],
    amount: str,
    reason: str,
    idempotency_key: str | None,
    config: Path | None,
    data_dir: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    from embedrouter.ledger.book import now
    from embedrouter.ledger.credits import Credit, balance
    from embedrouter.ledger.credits import add as credit

    text_of("--reason", reason, 500)
    if idempotency_key is not None:
        text_of("--idempotency-key", idempotency_key, 255)
    wanted = Credit(kind, money_of("the amount", amount), actor(), reason, now(), idempotency_key)
    with writing(config, data_dir, database_url) as store:
        booked = Booked(_entry(store.write(credit, wanted)), _standing(store.opened.read(balance)))
    show(booked, as_json, lambda: _print(booked.balance))


def _standing(found: "Balance") -> Standing:
    return Standing(usd(found.credited_pico), usd(found.spent_pico), usd(found.held_pico), usd(found.available_pico))


def _print(found: Standing) -> None:
    facts([(name, plain(getattr(found, name))) for name in found.__struct_fields__])


def _entry(row: Mapping[Any, Any]) -> Entry:
    return Entry(
        row["id"],
        row["kind"],
        usd_text(row["amount_pico"]),
        row["actor"],
        row["reason"],
        iso(row["created_at"]),
        row["idempotency_key"],
    )


def _show_budgets(found: Sequence["Budget"], as_json: bool) -> None:
    shown = [
        BudgetShown(one.slug, one.period, usd(one.limit_pico), usd(one.spent_pico), usd(one.held_pico)) for one in found
    ]
    rows = [(one.workspace, one.period, plain(one.limit), plain(one.spent)) for one in shown]
    show(shown, as_json, lambda: table(("workspace", "period", "limit", "spent"), rows))
