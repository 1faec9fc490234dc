"""The ledger as a request meets it: hold, settle, give back."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, select

from embedrouter.errors import EmbedRouterError, StoreUnavailableError
from embedrouter.ledger import generations, holds
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.holds import Hold, Payer
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.tables import holds as holds_table
from embedrouter.store.tables import instances

log = logging.getLogger(__name__)

DEAD_AFTER: Final = 10_000_000  # microseconds without a sign of life after which a process's holds are released
_OWED: Final = 50_000  # writes that wait for the database to come back


class Instance(NamedTuple):
    """This process, as others see it."""

    id: str
    host: str
    pid: int
    started_at: int  # microseconds


def now() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Ledger:
    """One a process. Its methods belong to the event loop, `beat` and `close` to any thread."""

    def __init__(self, database: Database, writer: Writer, instance: Instance) -> None:
        self.database = database
        self.writer = writer
        self.instance = instance
        self._waits = database.durability != "async"
        self._owed: deque[tuple[Any, Any]] = deque()  # (handler, payload) that must not be lost

    def require_up(self) -> None:
        """Raise StoreUnavailableError while the database cannot be written: before work is done that is in vain."""
        if self.writer.failing and (self._waits or len(self._owed) >= _OWED):
            raise StoreUnavailableError("the database cannot be written at the moment; try again", retry_after=2)

    async def hold(self, payer: Payer, generation_id: str, amount_pico: int, tokens: int, at: int) -> Hold:
        """Reserve what a request will cost. Raises PaymentRequiredError, PermissionDeniedError,
        RateLimitExceededError, StoreUnavailableError. A caller that goes away while it waits holds nothing."""
        wanted = Hold(generation_id, self.instance.id, payer, payer.claims(at), amount_pico, tokens, at)
        writing = self.writer.write(holds.hold, wanted)
        try:
            granted: Hold = await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.add_done_callback(lambda done: self.give_back(wanted) if not _failed(done) else None)
            raise
        return granted

    async def settle(self, settlement: Settlement) -> None:
        """Write the generation with its charge; when this returns, it is there. Raises StoreUnavailableError.

        Where durability is `async` it returns at once: what was answered in the last moments can be lost by a kill.
        """
        writing = self.writer.write(generations.settle, settlement)
        if self._waits:
            await asyncio.shield(writing)
        else:
            writing.add_done_callback(lambda done: self._owe(done, generations.settle, settlement))

    def give_back(self, hold: Hold) -> None:
        """Release a hold that will not be settled; needs no waiting for."""
        if hold.kept:
            self._write_surely(holds.release, hold.id)

    def note(self, settlement: Settlement) -> None:
        """Write a generation that nobody waits for: of a request that failed or was given up."""
        self._write_surely(generations.settle, settlement)

    def beat(self) -> None:
        """Show that this process lives, release what dead ones held, and write what is owed. Raises
        StoreUnavailableError."""
        self.writer.submit(_beat, self.instance).result()
        while self._owed:
            handler, payload = self._owed.popleft()
            try:
                self.writer.submit(handler, payload).result()
            except StoreUnavailableError:
                self._owed.appendleft((handler, payload))
                raise
            except EmbedRouterError as error:
                log.warning("a write that was owed was refused: %s", error.message)

    def close(self) -> None:
        """Sign off: what is still held by this process is nobody's any more."""
        self.writer.submit(_sign_off, self.instance.id).result()

    def _write_surely(self, handler: Any, payload: Any) -> None:
        try:
            writing = self.writer.write(handler, payload)
        except EmbedRouterError:
            self._owed.append((handler, payload))
            return
        writing.add_done_callback(lambda done: self._owe(done, handler, payload))

    def _owe(self, done: "asyncio.Future[Any]", handler: Any, payload: Any) -> None:
        if not done.cancelled() and isinstance(done.exception(), StoreUnavailableError):
            self._owed.append((handler, payload))


def _failed(done: "asyncio.Future[Any]") -> bool:
    return done.cancelled() or done.exception() is not None


def _beat(batch: Batch, living: Sequence[Instance]) -> Sequence[None]:
    at = batch.database.now(batch.connection)
    added = batch.database.insert(instances)
    seen = added.on_conflict_do_update(index_elements=[instances.c.id], set_={"seen_at": at})
    batch.connection.execute(seen, [{**instance._asdict(), "seen_at": at} for instance in living])
    dead = batch.connection.execute(select(instances.c.id).where(instances.c.seen_at < at - DEAD_AFTER)).scalars().all()
    for instance_id in dead:
        log.warning("process %s is gone: releasing what it held", instance_id)
        _release_all(batch, instance_id)
    return [None] * len(living)


def _sign_off(batch: Batch, ids: Sequence[str]) -> Sequence[None]:
    for instance_id in ids:
        _release_all(batch, instance_id)
    return [None] * len(ids)


def _release_all(batch: Batch, instance_id: str) -> None:
    gone = batch.connection.execute(
        delete(holds_table).where(holds_table.c.instance_id == instance_id).returning(holds_table)
    )
    holds.free(batch, gone.mappings())
    batch.connection.execute(delete(instances).where(instances.c.id == instance_id))
