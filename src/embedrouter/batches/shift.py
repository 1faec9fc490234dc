"""One job as one process works it off: line by line through the gateway, until nothing of it waits."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np

from embedrouter.accounts.caller import Caller
from embedrouter.batches.calls import Failing, LineCall, Reader, error_json, reason_json, wait_before_again
from embedrouter.batches.gate import Gate, Width, pace
from embedrouter.batches.job import Job, JobError, Status
from embedrouter.batches.leases import End, end
from embedrouter.batches.lines import Line, lines, waiting
from embedrouter.batches.results import LINES, AlreadyDoneError, Done, Failed, fail_lines
from embedrouter.context import Context
from embedrouter.errors import AuthenticationError, EmbedRouterError, OverloadedError, StoreUnavailableError
from embedrouter.ledger.beside import Beside
from embedrouter.ledger.book import now
from embedrouter.store.session import Handler
from embedrouter.work import EmbedResult, Origin, Trail, new_generation_id

log = logging.getLogger(__name__)

HeldBack = Literal["key", "provider"]  # by limits of the key, which all its jobs share, or by who is to be asked

P = TypeVar("P")
R = TypeVar("R")

WORKERS: Final = 48  # lines under way at most
AGENT: Final = "embedrouter-batch"  # what a generation shows as its user agent
_READ: Final = 256  # lines in memory that wait
_BIG: Final = 16 << 10  # bytes of a body that is not decoded on the event loop
_BITE: Final = 500  # lines that are given up in one transaction
_LONGEST_REST: Final = 0.05  # seconds
_ANY: Final = 1 << 40  # bytes
_MEMORY: Final = 60.0  # seconds after a refusal, during which the job counts as held back
_PAUSE: Final = 1.0  # seconds, when the database is away or something waits unexpectedly


class Desk(NamedTuple):
    """What it takes to work."""

    context: Context
    read: Reader
    pace: Gate  # shared by all jobs of the process


class Stop(NamedTuple):
    """Why the rest of a job is not done, and how the job ends."""

    status: Status
    code: str
    message: str

    @property
    def error(self) -> JobError | None:
        """What the job says; nothing, where that is what its owner wanted or was told before."""
        return JobError(self.code, self.message) if self.status == "failed" else None


_CANCELLED: Final = Stop("cancelled", "batch_cancelled", "The batch was cancelled before this request was executed")
_EXPIRED: Final = Stop("expired", "batch_expired", "The batch's completion window was over before this request's turn")


class Shift:
    """Belongs to the event loop."""

    def __init__(self, desk: Desk, job: Job) -> None:
        self.job = job  # replaced when it is read anew
        self._desk = desk
        self._left = False
        self._unusable: str | None = None  # why its key is
        self._ready: deque[Line] = deque()
        self._last = -1  # the line that was read last
        self._read_all = False
        self._reading = asyncio.Lock()
        self._width = float(WORKERS)  # lines under way: fewer when limits refuse
        self._window = Gate(lambda: Width(max(1, int(self._width)), _ANY))
        self._resume_at = 0.0  # time.monotonic()
        self._done_at = -math.inf  # the same, of the line that was done last
        self._refused_at = -math.inf  # the same, of what is tried again
        self._refused_by: HeldBack = "provider"

    @property
    def held_back(self) -> HeldBack | None:
        """By whom lines were refused lately that are tried again; None: it goes on as it can."""
        return self._refused_by if time.monotonic() - self._refused_at < _MEMORY else None

    def leave(self) -> None:
        """Finish the lines under way, and no others: somebody else has the job, or the process ends."""
        self._left = True

    async def work(self) -> None:
        """Until the job has ended, or is left."""
        while not self._left:
            if self._stop() is None:
                self._ready.clear()
                self._last, self._read_all = -1, False
                await self._work_off()
            if await self._ended(self._stop()):
                return
            await asyncio.sleep(_PAUSE)  # something waits still, or the job was left

    async def _ended(self, stop: Stop | None) -> bool:
        """Whether nothing of it waits any more. stop: why the rest is not done; None: it should be done."""
        ending = End(self.job.id, "completed", now())
        if stop is not None:
            await self._give_up(stop)
            ending = End(self.job.id, stop.status, now(), stop.error)
        return await self._written(end, ending) is True

    # --- lines

    async def _work_off(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(WORKERS, self.job.total)):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while (line := await self._next()) is not None:
            await self._do(line)

    async def _next(self) -> Line | None:
        """The next one that waits; None: there is none, or no more are to be done."""
        if not self._ready:
            async with self._reading:
                if not self._ready and not self._read_all and not self._is_over():
                    await self._read_on()
        return None if self._is_over() or not self._ready else self._ready.popleft()

    async def _read_on(self) -> None:
        job_id, last = self.job.id, self._last
        while not self._left:
            try:
                read = await self._desk.context.database.read(lambda one: lines(one, job_id, last, _READ, "pending"))
            except StoreUnavailableError:
                await asyncio.sleep(_PAUSE)
                continue
            self._ready.extend(read)
            self._last = read[-1].number if read else last
            self._read_all = not read
            return

    async def _do(self, line: Line) -> None:
        """One line, as often as it takes; it stays waiting where the job is over first."""
        tries, size, metrics = 0, len(line.body), self._desk.context.metrics
        failed_first = failed_before = math.inf
        while not self._is_over():
            error = await self._tried(line, size)
            if error is None:
                return
            tries, at = tries + 1, time.monotonic()
            failed_first = min(failed_first, at)
            failing = Failing(tries, at - failed_first, others_succeed=self._done_at > failed_before)
            failed_before = at
            wait = wait_before_again(error, failing)
            if wait is None:
                await self._fail([line.number], error.status, error_json(error))
                return
            metrics.batch_lines["retried"].inc()
            self._hold_back(wait, "key" if error.status == 429 and "limit" in error.metadata else "provider")

    async def _tried(self, line: Line, size: int) -> EmbedRouterError | None:
        """Why it is not done."""
        await self._window.enter(size)
        try:
            await self._pause()
            await self._desk.pace.enter(size)
            try:
                if not self._is_over():
                    started = time.monotonic()
                    await self._asked(line)
                    await self._rest(time.monotonic() - started)
            finally:
                self._desk.pace.leave(size)
        except AlreadyDoneError:
            pass
        except EmbedRouterError as error:
            return error
        except Exception:
            log.exception("line %d of %s failed", line.number, self.job.id)
            return EmbedRouterError("unforeseen")
        finally:
            self._window.leave(size)
        self._done_at = time.monotonic()
        self._width = min(float(WORKERS), self._width + 0.25)
        return None

    async def _asked(self, line: Line) -> None:
        """Raises EmbedRouterError; AlreadyDoneError where there is nothing to do."""
        context, job = self._desk.context, self.job
        context.refuse_if_draining()
        try:
            caller = context.gatekeeper.admit_again(job.key_id, now())
        except AuthenticationError as error:
            self._unusable = error.message
            return
        caller.require_inference()
        most = caller.key.max_concurrent
        if most is not None:  # what asks by itself with the same key is to have room
            self._width = min(self._width, max(1.0, most / 2))
        call = await self._call(line, caller)
        origin = Origin(
            generation_id=new_generation_id(),
            caller=caller,
            started=time.perf_counter(),
            user_agent=AGENT,
            external_user=call.external_user,
            session_id=call.session_id or job.id,
            request_id=f"{job.id}-{line.number}",
        )

        def beside(result: EmbedResult) -> Beside:
            return Beside(LINES, _done(job, line, origin, call, result))

        discount = context.settings.batch_discount_percent
        request = call.request._replace(discount_percent=discount, piece=self._piece)
        result, _ = await context.gateway.embed(request, origin, _nothing, Trail(), beside)
        context.metrics.embedded(len(result.vectors), result.prompt_tokens, result.truncated, result.windows)
        context.metrics.batch_lines["done"].inc()

    async def _rest(self, seconds: float) -> None:
        """Leave the processor to others for a while, after a line that took so long."""
        rest = pace(self._desk.context.metrics).rest * seconds
        if rest:
            await asyncio.sleep(min(rest, _LONGEST_REST))

    def _piece(self) -> int:
        return pace(self._desk.context.metrics).piece

    async def _call(self, line: Line, caller: Caller) -> LineCall:
        if len(line.body) <= _BIG:
            return self._desk.read(self.job, line.body, caller)
        return await asyncio.to_thread(self._desk.read, self.job, line.body, caller)

    # --- waiting

    def _hold_back(self, seconds: float, by: HeldBack) -> None:
        """Limits refuse, or somebody is not there: all lines of the job wait, and fewer go on at once."""
        at = time.monotonic()
        self._refused_at, self._refused_by = at, by
        if at >= self._resume_at:  # those that were under way with the first say the same
            self._width = max(1.0, self._width / 2)
        self._resume_at = max(self._resume_at, at + seconds)

    async def _pause(self) -> None:
        while self._resume_at > time.monotonic() and not self._is_over():  # noqa: ASYNC110 (a clock tells no event)
            await asyncio.sleep(min(self._resume_at - time.monotonic(), _PAUSE))

    def _is_over(self) -> bool:
        return self._left or self._stop() is not None

    def _stop(self) -> Stop | None:
        if self.job.status == "cancelling":
            return _CANCELLED
        if now() >= self.job.expires_at:
            return _EXPIRED
        if self._unusable is not None:
            return Stop("failed", "key_unusable", self._unusable)
        return None

    # --- what is not done

    async def _give_up(self, stop: Stop) -> None:
        """Have all lines fail that wait."""
        job_id, last, reason = self.job.id, -1, reason_json(stop.code, stop.message)
        while not self._left:
            try:
                numbers = await self._desk.context.database.read(lambda one: waiting(one, job_id, last, _BITE))  # noqa: B023
            except StoreUnavailableError:
                await asyncio.sleep(_PAUSE)
                continue
            if not numbers:
                return
            await self._fail(numbers, None, reason)
            last = numbers[-1]

    async def _fail(self, numbers: Sequence[int], status_code: int | None, error: str) -> None:
        request_id = f"{self.job.id}-{numbers[0]}" if status_code is not None else None
        count = await self._written(fail_lines, Failed(self.job.id, numbers, status_code, error, request_id))
        self._desk.context.metrics.batch_lines["failed"].inc(count or 0)

    async def _written(self, handler: Handler[P, R], payload: P) -> R | None:
        """The writer's answer, whenever it can give one; None where the job is left first."""
        while not self._left:
            try:
                return await self._desk.context.writer.write(handler, payload, apart=True)
            except (StoreUnavailableError, OverloadedError):
                await asyncio.sleep(_PAUSE)
        return None


def _done(job: Job, line: Line, origin: Origin, call: LineCall, result: EmbedResult) -> Done:
    return Done(
        job_id=job.id,
        number=line.number,
        generation_id=origin.generation_id,
        request_id=origin.request_id or "",
        tokens=result.prompt_tokens,
        cost_pico=result.cost_pico_usd,
        vectors=np.ascontiguousarray(result.vectors, "<f4").tobytes(),
        dimensions=result.vectors.shape[1],
        encoding_format=call.encoding_format,
    )


async def _nothing(_: EmbedResult) -> None:
    """Nobody waits for an answer."""
