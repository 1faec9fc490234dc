"""Whether what the database holds is made up, for people to look at: then every page says so."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, insert, select

from embedrouter.errors import ConflictError
from embedrouter.periods import iso
from embedrouter.store.session import Batch
from embedrouter.store.tables import generations, ledger, marks, users

_NAME: Final = "demo"  # in `marks`: when it was filled, microseconds


def is_demo(connection: Connection) -> bool:
    """Whether `embedrouter demo` filled it."""
    return filled_at(connection) is not None


def filled_at(connection: Connection) -> int | None:
    """When it did, in microseconds."""
    found = connection.execute(select(marks.c.value).where(marks.c.name == _NAME)).scalar_one_or_none()
    return None if found is None else int(found)


def claim(batch: Batch, times: Sequence[int]) -> Sequence[Exception | None]:
    """The writer's handler: marks an unused database as demo. ConflictError for one that holds anything already."""
    return [_claim(batch, at) for at in times]


def _claim(batch: Batch, at: int) -> Exception | None:
    connection = batch.connection
    filled = filled_at(connection)
    if filled is not None:
        if batch.again and filled == at:
            return None
        return ConflictError(
            f"the database holds demo data already, since {iso(filled)[:19]}Z: start the server on it, or give another "
            f"--data-dir or --database-url for new ones"
        )
    for what, table in (("generations", generations), ("users", users), ("ledger entries", ledger)):
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        if count:
            return ConflictError(
                f"the database holds {count:,} {what} that are no demo, and stays as it is: give a --data-dir or "
                f"--database-url that is empty"
            )
    connection.execute(insert(marks), {"name": _NAME, "value": at})
    return None
