"""The doctor beside a running server: one examination at a time, and its result until the next."""

import asyncio
import time
from typing import NamedTuple

from embedrouter.ledger.doctor import Diagnosis, examine
from embedrouter.store import Database


class Examined(NamedTuple):
    """What the doctor found when."""

    diagnosis: Diagnosis
    at: int  # microseconds
    seconds: float


class Examiner:
    """One a process. Belongs to the event loop."""

    def __init__(self) -> None:
        self.last: Examined | None = None
        self._running: asyncio.Task[Examined] | None = None

    @property
    def busy(self) -> bool:
        """Whether an examination is under way."""
        return self._running is not None and not self._running.done()

    async def examine(self, database: Database, patience: float) -> None:
        """Begin, unless one is under way, and wait so many seconds for it; it goes on after. StoreUnavailableError."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._examine(database))
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(self._running)
        except TimeoutError:
            return

    async def _examine(self, database: Database) -> Examined:
        started = time.monotonic()
        found = await asyncio.to_thread(database.read_now, examine)
        self.last = Examined(found, time.time_ns() // 1000, time.monotonic() - started)
        return self.last
