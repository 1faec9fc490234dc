"""How busy the server was today (UTC), as everybody may know it: public usage only."""

from datetime import UTC
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger import zones
from embedrouter.store.tables import usage


class Pulse(NamedTuple):
    """Of the day so far."""

    requests: int
    tokens: int


def today(connection: Connection, at: int) -> Pulse:
    """at: microseconds."""
    row = connection.execute(
        select(func.coalesce(func.sum(usage.c.requests), 0), func.coalesce(func.sum(usage.c.prompt_tokens), 0)).where(
            usage.c.bucket >= zones.midnight(zones.today(at, UTC), UTC), usage.c.public
        )
    ).one()
    return Pulse(int(row[0]), int(row[1]))
