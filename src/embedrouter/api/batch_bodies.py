"""The body of POST /batches, in both forms: taken in as it arrives, or refused with nothing left behind."""

import asyncio
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from embedrouter.accounts.caller import Caller
from embedrouter.api.body import read_pieces
from embedrouter.api.exchange import Exchange
from embedrouter.batches import files, jobs
from embedrouter.batches.callbacks import check_callback
from embedrouter.batches.checking import Checker
from embedrouter.batches.intake import Intake
from embedrouter.batches.job import Form, Job, JobError
from embedrouter.batches.jobs import WINDOWS, Failure, NewJob, Of, Start
from embedrouter.batches.lines import LONGEST_ID
from embedrouter.batches.parsing import BodyParser, Outside, Request
from embedrouter.batches.terms import json_of, set_terms, terms_of
from embedrouter.context import Context
from embedrouter.errors import ConflictError, InvalidRequestError, NotFoundError
from embedrouter.fields import bad_field
from embedrouter.ledger.book import now
from embedrouter.requests.embedding import LineRequest

ENDPOINT: Final = "/v1/embeddings"

_MIB: Final = 1_048_576


async def take(context: Context, caller: Caller, exchange: Exchange) -> Job:
    """The batch that a body asks for: `in_progress` with all its lines, or `validating` where they are in a file.

    Raises InvalidRequestError naming the request that is wrong, PayloadTooLargeError, NotFoundError and what
    `read_pieces` raises.
    """
    settings = context.settings
    parser = BodyParser(settings.max_body_mib * _MIB)
    taking: _Taking | None = None
    try:
        pieces = read_pieces(exchange, limit=settings.max_batch_mib * _MIB, grace=settings.body_timeout_s)
        async for piece in pieces:
            requests = await asyncio.to_thread(parser.feed, piece)
            if taking is None and parser.head is not None:
                taking = await _begin(context, caller, parser.head)
            if taking is not None:
                await taking.add(requests)
        outside = await asyncio.to_thread(parser.finish)
        if taking is not None:
            return await taking.end(outside)
    except BaseException:
        if taking is not None:
            await asyncio.shield(taking.discard())
        raise
    return await _from_file(context, caller, outside)


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    body: LineRequest


class CreateBatch(Outside, frozen=True, kw_only=True):
    """The body of POST /batches, for its description: `requests` with what comes before them, or `input_file_id`."""

    requests: list[BatchRequest] | None = None


class _Taking:
    """A batch whose requests are coming in."""

    def __init__(self, context: Context, job: Job, checker: Checker) -> None:
        self._context = context
        self._job = job
        self._checker = checker
        self._intake = Intake(context.writer, job.id)
        self._any = False

    async def add(self, requests: list[Request]) -> None:
        if requests:
            self._any = True
            await asyncio.to_thread(self._checker.check_all, requests)
            await self._intake.add(requests)

    async def end(self, outside: Outside) -> Job:
        """outside: now with what came after the requests."""
        _require_one_form(outside)
        _check(self._context, outside)
        if (outside.endpoint, outside.model) != (self._job.endpoint, self._job.model):
            raise bad_field("model", "endpoint and model may be given once, before requests")
        if not self._any:
            raise bad_field("requests", "must hold at least one request")
        await self._intake.flush()
        await self._context.writer.write(set_terms, terms_of(self._job.id, outside))
        return await self._context.writer.write(jobs.start, Start(self._job.id, now()))

    async def discard(self) -> None:
        """Leave nothing of it, unless its owner was quicker."""
        writer, job = self._context.writer, self._job
        try:
            await writer.write(jobs.fail, Failure(job.id, JobError("discarded", "its body was not accepted"), now()))
        except (ConflictError, NotFoundError):  # it was cancelled, and that is what whoever sends it is told
            return
        while not await writer.write(jobs.remove, Of(job.id, job.workspace_id, now()), apart=True):
            pass


async def _begin(context: Context, caller: Caller, head: Outside) -> _Taking:
    for field in ("endpoint", "model"):
        if getattr(head, field) is None:
            raise bad_field(field, "is required, before requests: they are read as they come")
    _require_one_form(head)
    _check(context, head)
    checker = Checker(context.gateway, head.model)
    job = await context.writer.write(jobs.create, _new(caller, head, "openrouter"))
    return _Taking(context, job, checker)


async def _from_file(context: Context, caller: Caller, outside: Outside) -> Job:
    if outside.input_file_id is None:
        raise bad_field("requests", "is required, or input_file_id of an uploaded file")
    if outside.endpoint is None:
        raise bad_field("endpoint", f"is required: {ENDPOINT}")
    if outside.completion_window is None:
        raise bad_field("completion_window", f"is required: {' or '.join(WINDOWS)}")
    for field in ("model", "provider"):
        if getattr(outside, field) is not None:
            raise bad_field(field, "goes with requests; each line of a file names its model itself")
    _check(context, outside)
    file_id, workspace_id = outside.input_file_id, caller.key.workspace_id
    if not file_id.isascii() or not file_id.isprintable():
        raise NotFoundError("no file has this id", metadata={"field": "input_file_id"})
    file = await context.database.read(lambda connection: files.find(connection, file_id, workspace_id))
    if file.purpose != "batch":
        raise bad_field("input_file_id", "must be of a file whose purpose is batch")
    new = _new(caller, outside, "openai")
    return await context.writer.write(
        jobs.create,
        new._replace(
            model=None,
            input_file_id=file.id,
            callback_url=outside.callback_url,
            metadata_json=json_of(outside.metadata),
        ),
    )


def _new(caller: Caller, outside: Outside, form: Form) -> NewJob:
    key = caller.key
    return NewJob(
        id=jobs.new_id(),
        key_id=key.id,
        workspace_id=key.workspace_id,
        owner_id=key.owner_id,
        form=form,
        endpoint=ENDPOINT,
        model=outside.model,
        at=now(),
        completion_window=outside.completion_window or "24h",
    )


def _require_one_form(outside: Outside) -> None:
    """Of a body with requests. Raise InvalidRequestError."""
    if outside.input_file_id is not None:
        raise bad_field("input_file_id", "give this or requests, not both")


def _check(context: Context, outside: Outside) -> None:
    """Raise InvalidRequestError."""
    if outside.endpoint is not None and outside.endpoint != ENDPOINT:
        raise bad_field("endpoint", f"must be {ENDPOINT}: this server's batches embed")
    if outside.completion_window is not None and outside.completion_window not in WINDOWS:
        raise bad_field("completion_window", f"must be {' or '.join(WINDOWS)}")
    if outside.callback_url is not None:
        check_callback(outside.callback_url, private=context.settings.private_callbacks)
    for key, value in (outside.metadata or {}).items():
        if "\x00" in key + value:
            raise InvalidRequestError("metadata: must not hold NUL characters", metadata={"field": "metadata"})
