"""What /status asks of the database: at most once in a few seconds, and never for longer than a reader waits."""

import asyncio
import time
from typing import Final, Literal, NamedTuple

from embedrouter.catalog.models import endpoint_id
from embedrouter.context import Context
from embedrouter.errors import StoreUnavailableError
from embedrouter.ledger.book import now
from embedrouter.ledger.incidents import Incident, recent_incidents
from embedrouter.ledger.uptime import ComponentDay, component_days

Answer = Literal["answers", "silent", "away"]

DAYS: Final = 90
_KEPT: Final = 5.0  # seconds that findings are good for
_PATIENCE: Final = 1.0  # seconds


class Findings(NamedTuple):
    """What the database had."""

    at: int  # microseconds
    days: tuple[ComponentDay, ...]
    incidents: tuple[Incident, ...]


class Look(NamedTuple):
    """How the database answered, and what it had; None if it never answered."""

    database: Answer
    findings: Findings | None  # if it does not answer now, what it had before


class Board:
    """One a process. Belongs to the event loop."""

    def __init__(self) -> None:
        self._findings: Findings | None = None
        self._read_at = 0.0  # monotonic
        self._reading: asyncio.Task[Findings] | None = None

    async def look(self, context: Context) -> Look:
        """Within a second or so. However many ask, only one reads, so that a stuck database keeps no more threads."""
        if self._findings is not None and time.monotonic() - self._read_at < _KEPT:
            return Look("answers", self._findings)
        if self._reading is None:
            self._reading = asyncio.create_task(_read(context))
        reading = self._reading
        await asyncio.wait({reading}, timeout=_PATIENCE)
        if not reading.done():
            return Look("silent", self._findings)
        if self._reading is reading:
            self._reading = None
        try:
            self._findings = reading.result()
        except StoreUnavailableError:
            return Look("away", self._findings)
        self._read_at = time.monotonic()
        return Look("answers", self._findings)


async def _read(context: Context) -> Findings:
    at = now()
    models = context.catalog.loaded.catalog.models
    public = [endpoint_id(model, endpoint) for model in models for endpoint in model.endpoints]
    return await context.database.read(
        lambda connection: Findings(at, component_days(connection, at, DAYS), recent_incidents(connection, at, public))
    )
