"""Gives batches of OpenAI's form their lines, one batch at a time, also those that another process left halfway."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, bindparam, or_, select, update
from sqlalchemy.sql import ColumnElement

from embedrouter.batches.filling import fill
from embedrouter.batches.job import Job, JobError
from embedrouter.batches.jobs import Failure, fail
from embedrouter.errors import ConflictError, EmbedRouterError
from embedrouter.gateway import Gateway
from embedrouter.ledger.book import now
from embedrouter.periods import SECOND
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.batch_tables import batches

log = logging.getLogger(__name__)

LEASE: Final = 30 * SECOND  # microseconds; renewed at a third of it
_UNFORESEEN: Final = JobError("server_error", "Internal Server Error; send the batch again")
_EVERY: Final = 2.0  # seconds between looks at what waits


class Taken(NamedTuple):
    """Who wants a batch, or has one. owner: of the process."""

    owner: str
    at: int  # now, in microseconds
    job_id: str | None = None  # None: any


def take(batch: Batch, wanted: Sequence[Taken]) -> Sequence[Job | None]:
    """The writer's handler: the oldest batch that waits for its lines, for LEASE; or its own for longer."""
    return [_take(batch, one) for one in wanted]


def leave(batch: Batch, wanted: Sequence[Taken]) -> Sequence[None]:
    """The writer's handler: gives it back."""
    for one in wanted:
        mine = and_(batches.c.id == one.job_id, batches.c.lease_owner == one.owner)
        batch.connection.execute(update(batches).where(mine).values(lease_owner=None, lease_until=None))
    return [None] * len(wanted)


class Filler:
    """One a process; it belongs to the event loop."""

    def __init__(self, database: Database, writer: Writer, gateway: Gateway) -> None:
        self._database = database
        self._writer = writer
        self._gateway = gateway
        self._owner = f"f{gateway.ledger.instance.id}"
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There may be a batch."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop. What is halfway is gone on with by whoever lives then."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def turn(self) -> bool:
        """Fill one batch, if one waits; whether one did. Raises StoreUnavailableError."""
        if not await self._database.read(_anything):
            return False
        job = await self._writer.write(take, Taken(self._owner, now()))
        if job is None:
            return False
        renewing = asyncio.create_task(self._renew(job.id))
        try:
            await fill(job, self._database, self._writer, self._gateway)
        except ConflictError:  # it was cancelled meanwhile
            log.info("%s was cancelled before it had its lines", job.id)
        except EmbedRouterError:
            raise
        except Exception:  # it would fail again, before all the others
            log.exception("%s could not be given its lines", job.id)
            await self._writer.write(fail, Failure(job.id, _UNFORESEEN, now()))
        finally:
            renewing.cancel()
            await self._writer.write(leave, Taken(self._owner, now(), job.id))
        return True

    async def _renew(self, job_id: str) -> None:
        while True:
            await asyncio.sleep(LEASE / SECOND / 3)
            with suppress(EmbedRouterError):
                await self._writer.write(take, Taken(self._owner, now(), job_id))

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                while await self.turn():
                    pass
            except EmbedRouterError as error:
                log.warning("filling batches: %s", error.message)
            except Exception:
                log.exception("filling batches failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), _EVERY)


def _take(batch: Batch, wanted: Taken) -> Job | None:
    if wanted.job_id is not None:
        chosen = and_(batches.c.id == wanted.job_id, batches.c.lease_owner == wanted.owner, _waits())
    else:
        oldest = select(batches.c.id).where(_waits(), _free(wanted.at)).order_by(batches.c.created_at).limit(1)
        chosen = batches.c.id.in_(oldest)
    values = {"lease_owner": wanted.owner, "lease_until": wanted.at + LEASE}
    row = batch.connection.execute(update(batches).where(chosen).values(values).returning(batches)).mappings().first()
    return None if row is None else Job(**row)


def _anything(connection: Connection) -> bool:
    return connection.execute(_ANYTHING, {"at": now()}).first() is not None


def _waits() -> ColumnElement[bool]:
    return and_(batches.c.status == "validating", batches.c.form == "openai")


def _free(at: int | ColumnElement[int]) -> ColumnElement[bool]:
    return or_(batches.c.lease_until.is_(None), batches.c.lease_until < at)


_ANYTHING: Final = select(batches.c.id).where(_waits(), _free(bindparam("at"))).limit(1)  # built once
