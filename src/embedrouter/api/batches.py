"""Batches: many embeddings asked for at once, computed beside the other traffic; OpenRouter's form and OpenAI's."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import Parameter
from litestar.response import Stream
from msgspec import UNSET, UnsetType

from embedrouter.accounts.caller import Caller
from embedrouter.api.auth import INFERENCE, caller_of
from embedrouter.api.batch_bodies import take
from embedrouter.api.batch_results import whole_object
from embedrouter.api.exchange import Exchange
from embedrouter.batches import jobs
from embedrouter.batches.filler import Filler
from embedrouter.batches.job import Job, Status
from embedrouter.batches.jobs import JobFilter, Of
from embedrouter.batches.objects import BatchObject, batch_object
from embedrouter.context import Context
from embedrouter.errors import NotFoundError
from embedrouter.fields import bad_field
from embedrouter.ledger.book import now
from embedrouter.periods import SECOND

_ID: Final = re.compile(r"batch_[0-9a-f]{1,32}")
_SOON: Final[tuple[Status, ...]] = ("in_progress", "finalizing", "cancelling")  # what OpenRouter lists as in_progress

After = Annotated[str | None, Parameter(max_length=64, description="The previous page's `last_id`.")]
Time = Annotated[str | None, Parameter(max_length=40, description="ISO 8601 or unix seconds; strictly.")]
Id = Annotated[str, Parameter(description="batch_...")]


class BatchAnswer(BatchObject, frozen=True, kw_only=True):
    """A batch. `results`: of OpenRouter's form, with GET /batches/{id} once it has ended."""

    results: list[Any] | None = None
    callback_secret: str | UnsetType = UNSET  # verifies its callbacks


class BatchList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of batches, the newest first, without results."""

    object: Literal["list"] = "list"
    data: list[BatchAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchDeletion(msgspec.Struct, frozen=True):
    """Where its requests and results were deleted."""

    openrouter: Literal["deleted"] = "deleted"


class BatchDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What DELETE /batches/{id} answers."""

    id: str
    object: Literal["batch"] = "batch"
    deletion: BatchDeletion = msgspec.field(default_factory=BatchDeletion)


class CallbackSecret(msgspec.Struct, frozen=True):
    """What verifies the callbacks of a workspace."""

    secret: str


@post(
    "/batches",
    summary="Create a batch",
    tags=["Batches"],
    operation_id="createBatches",
    status_code=202,
    opt=INFERENCE,
)
async def create_batch(request: Request[Any, Any, Any], context: Context, filler: Filler) -> Response[BatchAnswer]:
    """From requests in the body (202), or from an uploaded file (200)."""
    context.refuse_if_draining()
    job = await take(context, caller_of(request), Exchange(request.scope, request.receive, request.send))
    if job.form == "openai":
        filler.wake()
    secret = context.webhooks.secret(job.workspace_id) if job.callback_url else UNSET
    return Response(_answer(job, secret), status_code=202 if job.form == "openrouter" else 200)


@get("/batches", summary="List batches", tags=["Batches"], operation_id="listBatches", opt=INFERENCE)
async def list_batches(
    request: Request[Any, Any, Any],
    context: Context,
    limit: Annotated[int, Parameter(ge=1, le=100, description="Batches to return at most.")] = 20,
    after: After = None,
    status: Annotated[list[Status] | None, Parameter(description="May be repeated.")] = None,
    created_after: Time = None,
    created_before: Time = None,
) -> BatchList:
    """Those of the key's workspace, of both forms."""
    statuses = set(status or ())
    wanted = JobFilter(
        workspace_id=caller_of(request).key.workspace_id,
        limit=limit,
        after=None if after is None else _known(after),
        statuses=statuses.union(_SOON) if "in_progress" in statuses else statuses,
        created_after=_moment("created_after", created_after),
        created_before=_moment("created_before", created_before),
    )
    page = await context.database.read(lambda connection: jobs.page(connection, wanted))
    data = [_answer(job) for job in page.jobs]
    ids = [job.id for job in page.jobs]
    return BatchList(data=data, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None, has_more=page.more)


@get("/batches/{id:str}", summary="Get a batch", tags=["Batches"], operation_id="getBatches", opt=INFERENCE)
async def get_batch(request: Request[Any, Any, Any], context: Context, id: Id) -> Response[BatchAnswer]:  # noqa: A002
    """How far it is; with its results once it has ended."""
    job = await _find(context, caller_of(request), id)
    if job.form == "openrouter" and job.has_results:
        return Stream(whole_object(context, job), media_type="application/json")  # type: ignore[return-value]
    return Response(_answer(job))


@post(
    "/batches/{id:str}/cancel",
    summary="Cancel a batch",
    tags=["Batches"],
    operation_id="cancelBatch",
    status_code=200,
    opt=INFERENCE,
)
async def cancel_batch(request: Request[Any, Any, Any], context: Context, id: Id) -> BatchAnswer:  # noqa: A002
    """What was done stays done, and is paid for; what waits is not done."""
    of = Of(_known(id), caller_of(request).key.workspace_id, now())
    return _answer(await context.writer.write(jobs.cancel, of))


@delete(
    "/batches/{id:str}",
    summary="Delete a batch",
    tags=["Batches"],
    operation_id="deleteBatch",
    status_code=200,
    opt=INFERENCE,
)
async def delete_batch(request: Request[Any, Any, Any], context: Context, id: Id) -> BatchDeleted:  # noqa: A002
    """With its requests and results; only one that has ended. Its generations stay in the ledger."""
    of = Of(_known(id), caller_of(request).key.workspace_id, now())
    while not await context.writer.write(jobs.remove, of, apart=True):
        pass
    return BatchDeleted(id=id)


@get(
    "/batches/callback_secret",
    summary="Get the callbacks' secret",
    tags=["Batches"],
    operation_id="getCallbackSecret",
    opt=INFERENCE,
)
async def get_callback_secret(request: Request[Any, Any, Any], context: Context) -> Response[CallbackSecret]:
    """What the callbacks of the key's workspace are signed with: Standard Webhooks, `whsec_...`."""
    secret = context.webhooks.secret(caller_of(request).key.workspace_id)
    return Response(CallbackSecret(secret), headers={"Cache-Control": "no-store"})


BATCHES: Final = (create_batch, list_batches, get_callback_secret, get_batch, cancel_batch, delete_batch)


async def _find(context: Context, caller: Caller, job_id: str) -> Job:
    known, workspace_id = _known(job_id), caller.key.workspace_id
    return await context.database.read(lambda connection: jobs.find(connection, known, workspace_id))


def _known(job_id: str) -> str:
    """Raises NotFoundError for what cannot be an id."""
    if not _ID.fullmatch(job_id):
        raise NotFoundError("no batch has this id", metadata={"field": "id"})
    return job_id


def _answer(job: Job, secret: str | UnsetType = UNSET) -> BatchAnswer:
    return BatchAnswer(**msgspec.structs.asdict(batch_object(job)), callback_secret=secret)


def _moment(field: str, text: str | None) -> int | None:
    """Microseconds."""
    if text is None:
        return None
    if text.isdecimal() and len(text) <= 11:
        return int(text) * SECOND
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise bad_field(field, "must be a time like 2030-01-31T12:00:00Z, a date or unix seconds") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * SECOND)
