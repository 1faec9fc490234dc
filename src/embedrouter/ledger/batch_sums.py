"""The doctor's look at batches: what a job says of itself is what its lines and their generations come to."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, case, func, select

from embedrouter.ledger.comparing import Finding, differ
from embedrouter.store.batch_tables import batch_lines, batches
from embedrouter.store.tables import generations

_COUNTS: Final = ("completed", "failed", "prompt_tokens")


def batch_sums(connection: Connection, generations_until: int) -> Iterator[Finding]:
    """Of every job that has all its lines yet; one that is being deleted has not.

    generations_until: microseconds; older generations may be gone.
    """
    table = batch_lines.c
    lines: Any = (
        select(
            table.batch_id,
            func.count().label("lines"),
            func.sum(case((table.status == "done", 1), else_=0)).label("completed"),
            func.sum(case((table.status == "failed", 1), else_=0)).label("failed"),
            func.coalesce(func.sum(table.tokens), 0).label("prompt_tokens"),
            func.count(generations.c.id).label("billed"),
            func.coalesce(func.sum(generations.c.cost_pico), 0).label("cost_pico"),
        )
        .select_from(batch_lines.outerjoin(generations, generations.c.id == table.generation_id))
        .group_by(table.batch_id)
        .subquery()
    )
    query = select(batches, *(column.label(f"of_{column.name}") for column in lines.c)).join(
        lines, (lines.c.batch_id == batches.c.id) & (lines.c.lines == batches.c.total)
    )
    for row in connection.execute(query.order_by(batches.c.id)):
        for name in _COUNTS:
            yield from differ(f"batch ({name})", f"id={row.id}", int(getattr(row, f"of_{name}")), getattr(row, name))
        if row.created_at >= generations_until:
            yield from differ("generations of a batch", f"id={row.id}", row.completed, row.of_billed)
            yield from differ("cost of a batch", f"id={row.id}", int(row.of_cost_pico), row.cost_pico)
