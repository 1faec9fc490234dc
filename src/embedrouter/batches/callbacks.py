"""Calling back: one signed POST for each batch that ended and has a callback_url, tried again until it is taken.

What is due and how often it was tried is in the database: a restart forgets nothing, and of several processes one
calls.
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from embedrouter.accounts.webhooks import WebhookSigner
from embedrouter.batches.calling import Called, Claim, called, claim
from embedrouter.batches.job import Job
from embedrouter.batches.objects import BatchObject, batch_object
from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.fields import bad_field
from embedrouter.ledger.book import now
from embedrouter.periods import SECOND, iso
from embedrouter.providers.egress import check_url
from embedrouter.providers.transport import Transport
from embedrouter.providers.wire import UpstreamError, WireRequest
from embedrouter.store import Database, Writer
from embedrouter.store.batch_tables import batches
from embedrouter.telemetry.logs import event

log = logging.getLogger(__name__)

# Seconds until the next try, after the first one, the second one, ...: ten tries in 16 hours.
WAITS: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800)

_EVERY: Final = 2.0  # seconds between looks at what is due
_AT_ONCE: Final = 10
_TIMEOUT: Final = 15.0  # seconds a receiver has
_CLAIMED_FOR: Final = 60 * SECOND  # microseconds after which somebody else may try
_ANSWER: Final = 65_536  # bytes of an answer, which is not looked at
_GONE: Final = 410  # "call me no more"


class Event(msgspec.Struct, frozen=True):
    """What is sent: `batch.completed`, `batch.failed`, `batch.cancelled` or `batch.expired`, and the batch."""

    type: str
    timestamp: str  # of the batch's end
    data: BatchObject  # without results


class Callbacks:
    """One a process; it belongs to the event loop."""

    def __init__(
        self, database: Database, writer: Writer, signer: WebhookSigner, transport: Transport, *, private: bool
    ) -> None:
        """transport: closed by `close`. private: hosts may be private, and asked by http."""
        self._database = database
        self._writer = writer
        self._signer = signer
        self._transport = transport
        self._private = private
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to call what is due."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop. A call that is under way is made again after a minute, by whoever lives then."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._transport.close()

    async def turn(self) -> int:
        """Make the calls that are due now; how many. Raises StoreUnavailableError."""
        if not await self._database.read(_any_due):
            return 0
        at = now()
        jobs = await self._writer.write(claim, Claim(at, at + _CLAIMED_FOR, _AT_ONCE))
        dues = await asyncio.gather(*(self._call(job) for job in jobs))
        for job, due in zip(jobs, dues, strict=True):
            await self._writer.write(called, Called(job.id, due))
        return len(jobs)

    async def _run(self) -> None:
        while True:
            try:
                while await self.turn() == _AT_ONCE:
                    pass
            except EmbedRouterError as error:
                log.warning("calling back: %s", error.message)
            except Exception:
                log.exception("calling back failed")
            await asyncio.sleep(_EVERY)

    async def _call(self, job: Job) -> int | None:
        """When to try again, in microseconds; None: never."""
        outcome = await self._told(job)
        due = None
        if outcome not in ("taken", "refused") and job.callback_tries <= len(WAITS):
            due = now() + WAITS[job.callback_tries - 1] * SECOND
        event(log, "callback", batch=job.id, outcome=outcome, tries=job.callback_tries, again=due is not None)
        return due

    async def _told(self, job: Job) -> str:
        """taken; refused, which is final; or what went wrong."""
        body = event_json(job)
        at = int(time.time())
        headers = {
            "content-type": "application/json",
            **self._signer.headers(job.workspace_id, f"msg_{job.id}", at, body),
        }
        request = WireRequest("POST", job.callback_url or "", headers, body)
        try:
            answer = await self._transport.send(request, timeout=_TIMEOUT, allow_private=self._private, limit=_ANSWER)
        except UpstreamError as error:
            return error.failure
        if answer.status == _GONE:
            return "refused"
        return "taken" if 200 <= answer.status < 300 else f"status {answer.status}"


def event_json(job: Job) -> bytes:
    """The body: the same at every try."""
    ended = job.finalized_at or job.created_at
    return msgspec.json.encode(Event(f"batch.{job.status}", iso(ended), batch_object(job, ended)))


def check_callback(url: str, *, private: bool) -> None:
    """Raise InvalidRequestError for a URL that will not be called. What a name stands for is judged when it is."""
    try:
        check_url(url, allow_private=private)
    except UpstreamError as error:
        raise _refused(error) from None


def _refused(error: UpstreamError) -> InvalidRequestError:
    what = error.message.removeprefix("The provider's URL ").replace("The provider's host", "the host")
    return bad_field("callback_url", what)


def _any_due(connection: Connection) -> bool:
    query = select(batches.c.id).where(batches.c.callback_due <= now()).limit(1)
    return connection.execute(query).scalar_one_or_none() is not None
