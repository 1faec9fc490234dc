"""Works off batch jobs beside the requests of a serving process."""

import asyncio
import logging
from contextlib import suppress
from itertools import count
from typing import Final

from embedrouter.batches.calls import Reader
from embedrouter.batches.gate import Gate, pace
from embedrouter.batches.leases import Renewal, Wish, is_anything_free, lease, let_go, renew
from embedrouter.batches.shift import Desk, Shift
from embedrouter.context import Context
from embedrouter.errors import EmbedRouterError
from embedrouter.ledger.book import now

log = logging.getLogger(__name__)

JOBS: Final = 8  # worked on at once ...
MOST: Final = 32  # ... with those that limits or providers hold back
_TURN: Final = 0.5  # seconds between looks for jobs
_RENEW_EACH: Final = 2  # turns
_PATIENCE: Final = 5.0  # seconds that the lines under way have when the process ends


class Runner:
    """One a process; belongs to the event loop."""

    def __init__(self, context: Context, read: Reader) -> None:
        self._context = context
        self._owner = context.ledger.instance.id
        self._desk = Desk(context, read, Gate(lambda: pace(context.metrics)))
        self._shifts: dict[str, Shift] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        context.metrics.watch("batch_jobs_running", "Batch jobs this process works on.", lambda: len(self._shifts))

    def start(self) -> None:
        """Begin to look for jobs."""
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Finish the lines under way, and give the jobs back, for others to take at once."""
        if self._looking is not None:
            self._looking.cancel()
        owned = tuple(self._shifts)
        for shift in self._shifts.values():
            shift.leave()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if owned:
            with suppress(EmbedRouterError):  # then its lease runs out
                await asyncio.wait_for(self._context.writer.write(let_go, Renewal(self._owner, owned)), _PATIENCE)

    async def _look(self) -> None:
        for turn in count(1):
            await asyncio.sleep(_TURN)
            try:
                if turn % _RENEW_EACH == 0 and self._shifts:
                    await self._renew()
                if self._has_hands_free() and not self._context.draining:
                    await self._take()
            except EmbedRouterError as error:
                log.warning("looking for batch jobs: %s", error.message)
            except Exception:
                log.exception("looking for batch jobs failed")

    def _has_hands_free(self) -> bool:
        busy = sum(shift.held_back is None for shift in self._shifts.values())
        return busy < JOBS and len(self._shifts) < MOST

    async def _take(self) -> None:
        at = now()
        but = tuple({shift.job.key_id for shift in self._shifts.values() if shift.held_back == "key"})
        if not await self._context.database.read(lambda connection: is_anything_free(connection, at, but)):
            return
        for job in await self._context.writer.write(lease, Wish(self._owner, 1, but), apart=True):
            if job.id in self._tasks:
                continue  # it was lost for a moment; its shift ends, and it is taken when it has
            shift = self._shifts[job.id] = Shift(self._desk, job)
            task = self._tasks[job.id] = asyncio.create_task(self._work(job.id, shift))
            task.add_done_callback(lambda _, job_id=job.id: self._tasks.pop(job_id, None))  # type: ignore[misc]

    async def _work(self, job_id: str, shift: Shift) -> None:
        try:
            await shift.work()
        except Exception:
            log.exception("working on %s failed; it is tried again", job_id)
        finally:
            self._shifts.pop(job_id, None)

    async def _renew(self) -> None:
        renewal = Renewal(self._owner, tuple(self._shifts))
        mine = {job.id: job for job in await self._context.writer.write(renew, renewal, apart=True)}
        for job_id in renewal.ids:
            shift = self._shifts.get(job_id)
            if shift is None:
                continue
            if job_id in mine:
                shift.job = mine[job_id]
            else:
                shift.leave()
