"""Batch jobs: rows of `batches`, from the first line that is sent to the last result.

A job is `validating` while its lines come in, in pieces, each a short transaction; `start` opens it to the runners.
"""

import secrets
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, and_, delete, insert, or_, select, update

from embedrouter.batches.job import Form, Job, JobError, Status
from embedrouter.batches.lines import NewLine, known_ids, rows_of
from embedrouter.errors import ConflictError, EmbedRouterError, InvalidRequestError, NotFoundError, PayloadTooLargeError
from embedrouter.periods import SECOND
from embedrouter.store import Batch
from embedrouter.store.batch_tables import batch_lines, batches

MOST_LINES: Final = 100_000  # of one job
MOST_BYTES: Final = 1 << 30  # of their bodies
WINDOWS: Final = {"24h": 86_400}  # completion windows, in seconds
PIECE: Final = 500  # lines that are best added at a time ...
PIECE_BYTES: Final = 4 << 20  # ... or bytes
STEP: Final = 200  # lines that go in one transaction when a job is deleted
MOST: Final = 100  # jobs of one page


class NewJob(NamedTuple):
    """What to make. at: now, in microseconds."""

    id: str
    key_id: int
    workspace_id: str
    owner_id: str | None
    form: Form
    endpoint: str
    model: str | None
    at: int
    completion_window: str = "24h"
    provider_json: str | None = None
    callback_url: str | None = None
    metadata_json: str | None = None
    input_file_id: str | None = None


class NewLines(NamedTuple):
    """A piece of a job's lines, in order; PIECE or PIECE_BYTES of them. at: now, in microseconds."""

    job_id: str
    lines: Sequence[NewLine]
    at: int


class Start(NamedTuple):
    """The job whose lines are all there. at: now, in microseconds."""

    job_id: str
    at: int


class Failure(NamedTuple):
    """The job that cannot be, and why."""

    job_id: str
    error: JobError
    at: int


class Of(NamedTuple):
    """A job of a workspace, and when in microseconds something is to happen to it."""

    job_id: str
    workspace_id: str
    at: int


class JobFilter(NamedTuple):
    """Which jobs to list, the newest first. after: the id of the last one that was shown; times in microseconds.

    workspace_id, owner_id: None for any.
    """

    workspace_id: str | None = None
    owner_id: str | None = None
    limit: int = 20
    after: str | None = None
    statuses: Collection[Status] = ()  # none: all
    created_after: int | None = None
    created_before: int | None = None
    form: Form | None = None


def new_id() -> str:
    """`batch_` and 24 hex digits."""
    return f"batch_{secrets.token_hex(12)}"


# --- the writer's handlers


def create(batch: Batch, wanted: Sequence[NewJob]) -> Sequence[Job | Exception]:
    """Makes jobs without lines, `validating`."""
    return [_create(batch, one) for one in wanted]


def add_lines(batch: Batch, pieces: Sequence[NewLines]) -> Sequence[int | Exception]:
    """Adds lines to jobs that are `validating`, each piece whole or not at all; answers with the job's lines so far.

    Answers InvalidRequestError naming a custom_id that is there twice, PayloadTooLargeError beyond MOST_LINES and
    MOST_BYTES, ConflictError for a job that takes no lines, NotFoundError.
    """
    return [_add_lines(batch, piece) for piece in pieces]


def start(batch: Batch, wanted: Sequence[Start]) -> Sequence[Job | Exception]:
    """Opens jobs to the runners: `validating` to `in_progress`. Answers ConflictError for others, and for empty ones
    InvalidRequestError."""
    return [_start(batch, one) for one in wanted]


def fail(batch: Batch, failures: Sequence[Failure]) -> Sequence[Job | Exception]:
    """Ends jobs that are `validating`, without their lines."""
    return [_fail(batch, one) for one in failures]


def cancel(batch: Batch, wanted: Sequence[Of]) -> Sequence[Job | Exception]:
    """Has jobs stop: what waits is not done any more. Answers ConflictError for one that has ended, NotFoundError."""
    return [_cancel(batch, one) for one in wanted]


def remove(batch: Batch, wanted: Sequence[Of]) -> Sequence[bool | Exception]:
    """Deletes jobs that have ended, a step of their lines at a time: True once all is gone, False: call again.

    Answers ConflictError for one that has not ended, NotFoundError for one that is not there.
    """
    return [_remove(batch, one) for one in wanted]


# --- reading


def find(connection: Connection, job_id: str, workspace_id: str | None, owner_id: str | None = None) -> Job:
    """One of a workspace and an owner, or of any. Raises NotFoundError."""
    query = _of(select(batches).where(batches.c.id == job_id), workspace_id, owner_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFoundError("no batch has this id", metadata={"field": "id"})
    return Job(**row)


class Page(NamedTuple):
    """more: whether there are more jobs after these."""

    jobs: tuple[Job, ...]
    more: bool


def page(connection: Connection, wanted: JobFilter) -> Page:
    """The newest first. Raises NotFoundError for an `after` that is not among them."""
    table = batches
    limit = max(1, min(wanted.limit, MOST))
    query = _of(select(table), wanted.workspace_id, wanted.owner_id)
    if wanted.after is not None:
        last = find(connection, wanted.after, wanted.workspace_id, wanted.owner_id)
        older = table.c.created_at < last.created_at
        query = query.where(or_(older, and_(table.c.created_at == last.created_at, table.c.id < last.id)))
    if wanted.statuses:
        query = query.where(table.c.status.in_(tuple(wanted.statuses)))
    if wanted.created_after is not None:
        query = query.where(table.c.created_at > wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(table.c.created_at < wanted.created_before)
    if wanted.form is not None:
        query = query.where(table.c.form == wanted.form)
    query = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
    found = [Job(**row) for row in connection.execute(query).mappings()]
    return Page(tuple(found[:limit]), len(found) > limit)


# --- how


def _of(query: Select[Any], workspace_id: str | None, owner_id: str | None) -> Select[Any]:
    if workspace_id is not None:
        query = query.where(batches.c.workspace_id == workspace_id)
    return query if owner_id is None else query.where(batches.c.owner_id == owner_id)


def _create(batch: Batch, wanted: NewJob) -> Job | Exception:
    window = WINDOWS.get(wanted.completion_window)
    if window is None:
        return InvalidRequestError(
            f"completion_window: {' or '.join(WINDOWS)} is possible", metadata={"field": "completion_window"}
        )
    values = {
        **wanted._asdict(),
        "status": "validating",
        "created_at": wanted.at,
        "expires_at": wanted.at + window * SECOND,
        "total": 0,
        "completed": 0,
        "failed": 0,
        "bytes": 0,
        "prompt_tokens": 0,
        "cost_pico": 0,
        "touched_at": wanted.at,
        "callback_tries": 0,
    }
    del values["at"]
    if batch.again and isinstance(there := _found(batch, wanted.id), Job):
        return there
    return Job(**batch.connection.execute(insert(batches).values(values).returning(batches)).mappings().one())


def _add_lines(batch: Batch, piece: NewLines) -> int | Exception:
    job = _found(batch, piece.job_id)
    if isinstance(job, Exception):
        return job
    if job.status != "validating":
        return ConflictError(f"the batch is {job.status}: it takes no more lines")
    if batch.again and piece.lines and _are_last(batch.connection, job, piece.lines):
        return job.total
    size = sum(len(line.body) for line in piece.lines)
    refusal = _refusal(batch.connection, job, piece.lines, size)
    if refusal is not None:
        return refusal
    if piece.lines:
        batch.connection.execute(insert(batch_lines), rows_of(job.id, job.total, piece.lines))
    total = job.total + len(piece.lines)
    grown = {"total": total, "bytes": job.bytes + size, "touched_at": piece.at}
    batch.connection.execute(update(batches).where(batches.c.id == job.id).values(grown))
    return total


def _refusal(connection: Connection, job: Job, added: Sequence[NewLine], size: int) -> EmbedRouterError | None:
    if job.total + len(added) > MOST_LINES:
        return PayloadTooLargeError(f"a batch may have {MOST_LINES:,} requests; send several batches")
    if job.bytes + size > MOST_BYTES:
        return PayloadTooLargeError(f"the requests of a batch may have {MOST_BYTES >> 20:,} MiB; send several batches")
    twice = known_ids(connection, job.id, added)
    if twice is not None:
        return InvalidRequestError(
            f'custom_id: "{twice[:100]}" is there twice; each must be unique in its batch',
            metadata={"field": "custom_id", "custom_id": twice[:512]},
        )
    return None


def _start(batch: Batch, wanted: Start) -> Job | Exception:
    job = _found(batch, wanted.job_id)
    if isinstance(job, Exception):
        return job
    if batch.again and job.status == "in_progress":
        return job
    if job.status != "validating":
        return ConflictError(f"the batch is {job.status} already")
    if not job.total:
        return InvalidRequestError("a batch needs at least one request", metadata={"field": "requests"})
    return _changed(batch, job, status="in_progress", in_progress_at=wanted.at)


def _fail(batch: Batch, failure: Failure) -> Job | Exception:
    job = _found(batch, failure.job_id)
    if isinstance(job, Exception):
        return job
    if batch.again and job.status == "failed":
        return job
    if job.status != "validating":
        return ConflictError(f"the batch is {job.status}: it cannot fail as a whole")
    error = msgspec.json.encode(failure.error).decode()
    due = failure.at if job.callback_url else None
    return _changed(batch, job, status="failed", error=error, finalized_at=failure.at, callback_due=due)


def _cancel(batch: Batch, wanted: Of) -> Job | Exception:
    job = _found(batch, wanted.job_id, wanted.workspace_id)
    if isinstance(job, Exception) or job.status == "cancelling" or (batch.again and job.status == "cancelled"):
        return job
    if job.ended:
        return ConflictError(f"the batch is {job.status}: there is nothing to cancel")
    if job.status == "validating":  # no runner knows it
        due = wanted.at if job.callback_url else None
        ended = {"finalized_at": wanted.at, "callback_due": due}
        return _changed(batch, job, status="cancelled", cancelling_at=wanted.at, **ended)
    return _changed(batch, job, status="cancelling", cancelling_at=wanted.at)


def _remove(batch: Batch, wanted: Of) -> bool | Exception:
    job = _found(batch, wanted.job_id, wanted.workspace_id)
    if isinstance(job, Exception):
        return True if batch.again else job
    if not job.ended:
        return ConflictError(f"the batch is {job.status}: cancel it first")
    return drop_lines(batch, job.id)


def drop_lines(batch: Batch, job_id: str) -> bool:
    """Delete a step of an ended job's lines, and the job with the last of them; whether it is gone."""
    table = batch_lines
    numbers = select(table.c.number).where(table.c.batch_id == job_id).order_by(table.c.number).limit(STEP)
    some = delete(table).where(table.c.batch_id == job_id, table.c.number.in_(numbers))
    if batch.connection.execute(some).rowcount == STEP:
        return False
    batch.connection.execute(delete(batches).where(batches.c.id == job_id))
    return True


def _are_last(connection: Connection, job: Job, added: Sequence[NewLine]) -> bool:
    table = batch_lines
    query = select(table.c.custom_id).where(table.c.batch_id == job.id, table.c.number >= job.total - len(added))
    last = connection.execute(query.order_by(table.c.number)).scalars()
    return list(last) == [line.custom_id for line in added]


def _found(batch: Batch, job_id: str, workspace_id: str | None = None) -> Job | NotFoundError:
    try:
        return find(batch.connection, job_id, workspace_id)
    except NotFoundError as error:
        return error


def _changed(batch: Batch, job: Job, **values: str | int | None) -> Job:
    changed = update(batches).where(batches.c.id == job.id).values(**values).returning(batches)
    return Job(**batch.connection.execute(changed).mappings().one())
