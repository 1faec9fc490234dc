"""What a model's tokens really cost: money that was charged, by the tokens it was charged for."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger.rollups import MODEL_HOURS, Columns, rows
from embedrouter.ledger.spans import hours


class Paid(NamedTuple):
    """Money for tokens, in public."""

    tokens: int  # but those that somebody's own credential paid for
    cost_pico: int

    @property
    def pico_per_token(self) -> float | None:
        """The effective price; None where nothing was bought."""
        return self.cost_pico / self.tokens if self.tokens else None


class PaidPrice(NamedTuple):
    """Of one model at one provider."""

    model_permaslug: str
    endpoint: str  # tag
    provider_name: str
    hour: Paid
    day: Paid


def paid_prices(connection: Connection, at: int, model_permaslug: str | None = None) -> tuple[PaidPrice, ...]:
    """By model and provider: since the start of the clock hour before this one, and of the last 24 of them.

    Of all models or of one; only what was asked in the day is there. at: now, in microseconds.
    """
    day, hour = hours(24, at), hours(2, at)

    def wanted(of: Columns) -> list[Any]:
        one = [] if model_permaslug is None else [of["model_permaslug"] == model_permaslug]
        return [of["public"], *one]

    names = ("bucket", "model_permaslug", "endpoint", "provider_name", "prompt_tokens", "byok_tokens", "cost_pico")
    each = rows(connection, MODEL_HOURS, day, names, wanted).c
    query = (
        select(each.model_permaslug, each.endpoint, func.max(each.provider_name),
               *(func.sum(value).filter(each.bucket >= start) for start in (hour.start, day.start)
                 for value in (each.prompt_tokens - each.byok_tokens, each.cost_pico)))
        .group_by(each.model_permaslug, each.endpoint)
        .order_by(each.model_permaslug, each.endpoint)
    )  # fmt: skip
    return tuple(
        PaidPrice(
            row[0], row[1], row[2], Paid(int(row[3] or 0), int(row[4] or 0)), Paid(int(row[5] or 0), int(row[6] or 0))
        )
        for row in connection.execute(query)
    )
