"""embedrouter usage: what was used in the last days."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    note,
    show,
    table,
    told,
)
from embedrouter.cli.store import reading
from embedrouter.errors import InvalidRequestError
from embedrouter.money import usd_text

if TYPE_CHECKING:
    from embedrouter.ledger.analytics import Found, Row

By = Literal["model", "key", "app", "provider", "day"]


class Used(msgspec.Struct, frozen=True):
    """One line: a model's, key's, app's, provider's or day's; USD is exact."""

    name: str | None
    requests: int
    failures: int
    inputs: int
    tokens: int
    usd: str
    latency_ms: float


def usage(
    days: Annotated[int, typer.Option(help="How many days, today among them.", min=1, max=3_650)] = 30,
    by: Annotated[By, typer.Option(help="One line for each of these.")] = "model",
    timezone: Annotated[str, typer.Option(help="Whose days: an IANA time zone.")] = "UTC",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.", show_default=False)] = False,
) -> None:
    """What was used in the last days: requests, inputs, tokens, USD."""
    with told():
        from embedrouter.ledger.analytics import MOST_ROWS, Order, Query, run
        from embedrouter.ledger.book import now
        from embedrouter.ledger.zones import midnight, today, zone
        from embedrouter.periods import SECOND

        if as_json and as_csv:
            raise InvalidRequestError("give --json or --csv, not both")
        of, at = zone(timezone), now()
        query = Query(
            metrics=["total_usage"],
            start=midnight(today(at, of) - timedelta(days=days - 1), of) * SECOND,
            end=midnight(today(at, of) + timedelta(days=1), of) * SECOND,
            dimensions=[] if by == "day" else ["api_key_id" if by == "key" else by],
            granularity="day" if by == "day" else None,
            zone=of,
            order=Order("date", "asc") if by == "day" else None,
            limit=MOST_ROWS,
        )
        with reading(config, data_dir, database_url) as store:
            found: Found = store.read(run, query)
        lines = [_line(row) for row in found.rows]
        for warning in (*found.warnings, *([f"only the first {MOST_ROWS:,} lines"] if found.truncated else [])):
            note(f"embedrouter: {warning}")
        columns = (by, *Used.__struct_fields__[1:])
        rows = [msgspec.structs.astuple(line) for line in lines]
        if as_csv:
            from embedrouter.csv import csv_text

            typer.echo(csv_text(columns, rows), nl=False)
        else:
            show(lines, as_json, lambda: table(columns, rows))


def _line(row: "Row") -> Used:
    from embedrouter.ledger.zones import day_of

    sums = row.sums
    name = str(row.labels[0][0]) if row.labels and row.labels[0][0] is not None else None
    return Used(
        name=name if row.step is None else str(day_of(row.step)),
        requests=sums.requests,
        failures=sums.failures,
        inputs=sums.inputs,
        tokens=sums.prompt_tokens,
        usd=usd_text(sums.cost_pico),
        latency_ms=round(sums.latency_us / sums.requests / 1000, 3),
    )
