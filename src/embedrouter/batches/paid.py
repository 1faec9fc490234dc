"""What the ledger says of lines that are done: it is not kept with them a second time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from embedrouter.store.tables import generations


class Paid(NamedTuple):
    """Of a line's generation."""

    model: str  # slug
    cost_pico: int


def paid_for(connection: Connection, generation_ids: Sequence[str]) -> Mapping[str, Paid]:
    """By generation; those that were removed are not in it."""
    if not generation_ids:
        return {}
    table = generations
    query = select(table.c.id, table.c.model, table.c.cost_pico).where(table.c.id.in_(generation_ids))
    return {row.id: Paid(row.model, row.cost_pico) for row in connection.execute(query)}
