"""A batch as clients see it: one object that is OpenRouter's and OpenAI's at once, for either's SDK to read.

Times are unix seconds, money is USD.
"""

import re
from typing import Final, Literal

import msgspec

from embedrouter.batches.job import Form, Job, JobError, Status
from embedrouter.ledger.book import now
from embedrouter.money import usd
from embedrouter.periods import SECOND

OUTPUT: Final = "file-output-"
ERRORS: Final = "file-errors-"

_RESULT_FILE: Final = re.compile(f"({OUTPUT}|{ERRORS})([0-9a-f]{{24}})")


class Counts(msgspec.Struct, frozen=True):
    """Requests of a batch."""

    total: int
    completed: int
    failed: int


class CachedTokens(msgspec.Struct, frozen=True):
    """No prompt is cached."""

    cached_tokens: int = 0


class ReasoningTokens(msgspec.Struct, frozen=True):
    """An embedding generates nothing."""

    reasoning_tokens: int = 0


class BatchUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch has used so far, in both vocabularies."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int
    cost: float
    input_tokens: int
    input_tokens_details: CachedTokens = msgspec.field(default_factory=CachedTokens)
    output_tokens: int = 0
    output_tokens_details: ReasoningTokens = msgspec.field(default_factory=ReasoningTokens)


class BatchProblem(msgspec.Struct, frozen=True):
    """Why a batch failed, as OpenRouter tells it."""

    message: str


class FileProblem(msgspec.Struct, frozen=True):
    """Why a batch failed, as OpenAI tells it. line: of the input file, from 1, blank ones not counted."""

    code: str
    message: str
    line: int | None
    param: str | None


class FileProblems(msgspec.Struct, frozen=True):
    """OpenAI's list of them."""

    data: list[FileProblem]
    object: Literal["list"] = "list"


class BatchObject(msgspec.Struct, frozen=True, kw_only=True):
    """A batch, without its results."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str
    completion_window: str
    status: Status
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    finalized_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: Counts
    usage: BatchUsage | None
    provider: str | None = None
    error: BatchProblem | None
    errors: FileProblems | None
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    metadata: dict[str, str] | None
    callback_url: str | None
    # Beyond both.
    form: Form
    progress: float  # of its requests, 0 to 1
    seconds_left: float | None  # an estimate, where there is one


def batch_object(job: Job, at: int | None = None) -> BatchObject:
    """at: now, in microseconds."""
    done = job.completed + job.failed
    left = job.seconds_left(now() if at is None else at)
    problem = job.problem
    return BatchObject(
        id=job.id,
        endpoint=job.endpoint,
        model=job.model or "",
        completion_window=job.completion_window,
        status=job.status,
        created_at=job.created_at // SECOND,
        in_progress_at=_seconds(job.in_progress_at),
        expires_at=job.expires_at // SECOND,
        finalizing_at=_seconds(job.finalizing_at),
        finalized_at=_seconds(job.finalized_at),
        completed_at=_ended_as(job, "completed"),
        failed_at=_ended_as(job, "failed"),
        expired_at=_ended_as(job, "expired"),
        cancelling_at=_seconds(job.cancelling_at),
        cancelled_at=_ended_as(job, "cancelled"),
        request_counts=Counts(job.total, job.completed, job.failed),
        usage=_usage(job) if done else None,
        error=None if problem is None else BatchProblem(problem.message),
        errors=None if problem is None or job.form == "openrouter" else _problems(problem),
        input_file_id=job.input_file_id,
        output_file_id=_output(job),
        error_file_id=_errors(job),
        metadata=None if job.metadata_json is None else msgspec.json.decode(job.metadata_json, type=dict[str, str]),
        callback_url=job.callback_url,
        form=job.form,
        progress=round(done / job.total, 4) if job.total else float(job.ended),
        seconds_left=None if left is None else round(left, 1),
    )


class ResultFile(msgspec.Struct, frozen=True):
    """A batch's results or errors, as a file that is made when it is read."""

    job_id: str
    errors: bool


def result_file(file_id: str) -> ResultFile | None:
    """What an id names; None: no such file."""
    found = _RESULT_FILE.fullmatch(file_id)
    return None if found is None else ResultFile(f"batch_{found[2]}", found[1] == ERRORS)


def _usage(job: Job) -> BatchUsage:
    tokens = job.prompt_tokens
    return BatchUsage(prompt_tokens=tokens, total_tokens=tokens, input_tokens=tokens, cost=usd(job.cost_pico))


def _problems(problem: JobError) -> FileProblems:
    line = None if problem.line is None else problem.line + 1
    return FileProblems([FileProblem(problem.code, problem.message, line, problem.param)])


def _seconds(at: int | None) -> int | None:
    return None if at is None else at // SECOND


def _ended_as(job: Job, status: Status) -> int | None:
    return _seconds(job.finalized_at) if job.status == status else None


def _output(job: Job) -> str | None:
    if job.form == "openrouter" or not job.ended or not job.completed:
        return None
    return OUTPUT + job.id.removeprefix("batch_")


def _errors(job: Job) -> str | None:
    if job.form == "openrouter" or not job.has_results or job.completed == job.total:
        return None
    return ERRORS + job.id.removeprefix("batch_")
