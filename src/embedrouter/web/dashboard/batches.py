"""/dashboard/batches: batches, the newest first, and how far each is. A member sees what his own keys made."""

import re
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get, post

from embedrouter.accounts.keys import ApiKey, keys_of
from embedrouter.accounts.sessions import SignedIn
from embedrouter.batches import jobs
from embedrouter.batches.job import Job, Status
from embedrouter.batches.jobs import JobFilter, Of
from embedrouter.batches.lines import Line, lines
from embedrouter.context import Context
from embedrouter.entrance import SESSION
from embedrouter.errors import ConflictError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.web.dashboard.choices import choice
from embedrouter.web.dashboard.fields import Question
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import address, see_other
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/dashboard/batches"
_ID: Final = re.compile(r"batch_[0-9a-f]{1,32}")
_PAGE: Final = 50
_FAILURES: Final = 10  # that are shown; the results have them all
_STATES: Final[dict[str, tuple[Status, ...]]] = {
    "any": (),
    "running": ("validating", "in_progress", "finalizing", "cancelling"),
    "completed": ("completed",),
    "failed": ("failed",),
    "expired": ("expired",),
    "cancelled": ("cancelled",),
}


class Row(NamedTuple):
    """A batch at a time in microseconds, and the key that made it."""

    job: Job
    key: ApiKey | None  # None: it is deleted
    at: int

    @property
    def done(self) -> int:
        """Requests that were worked off, whatever became of them."""
        return self.job.completed + self.job.failed

    @property
    def seconds_left(self) -> float | None:
        """An estimate, where there is one and something is left."""
        return self.job.seconds_left(self.at) or None


class Failure(NamedTuple):
    """A request that failed."""

    line: Line
    message: str


class Found(NamedTuple):
    """A page of the list."""

    rows: tuple[Row, ...]
    more: bool


class Detail(NamedTuple):
    """A batch, and the first of its requests that failed."""

    row: Row
    failures: tuple[Failure, ...]


@get(_HERE, opt=SESSION)
async def list_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The list."""
    state = choice(request.query_params, "status", tuple(_STATES), "any")
    after = request.query_params.get("after") or None
    if after is not None:
        _check(after)
    wanted = JobFilter(owner_id=signed_in.user.sees_only, limit=_PAGE, after=after, statuses=_STATES[state])
    found = await context.database.read(lambda connection: _list(connection, wanted, now()))
    model = {
        "title": "Batches",
        "states": tuple(_STATES),
        "state": state,
        "found": found,
        "newest": None if after is None else address(_HERE, status=state),
        "older": address(_HERE, status=state, after=found.rows[-1].job.id) if found.more else None,
    }
    return dashboard_page(request, signed_in, "dashboard/batches.html", model)


@get(f"{_HERE}/{{id_:str}}", opt=SESSION)
async def batch_page(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """One batch. What somebody may not see is not there."""
    _check(id_)
    owner = signed_in.user.sees_only
    found = await context.database.read(lambda connection: _detail(connection, id_, owner, now()))
    model = {"title": id_, "crumbs": (Crumb("Batches", _HERE), Crumb(id_)), "found": found, "row": found.row}
    return dashboard_page(request, signed_in, "dashboard/batch.html", model)


@post(f"{_HERE}/{{id_:str}}/cancel", opt=SESSION)
async def cancel(context: Context, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Stop it. One that has ended meanwhile is shown as it is."""
    job = await _find(context, signed_in, id_)
    with suppress(ConflictError):
        await context.writer.write(jobs.cancel, Of(job.id, job.workspace_id, now()))
    return see_other(f"{_HERE}/{job.id}")


@get(f"{_HERE}/{{id_:str}}/delete", opt=SESSION)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """Really?"""
    job = await _find(context, signed_in, id_)
    question = Question(
        "Delete this batch?",
        f"{job.id}, with its results. Its requests stay in the logs and are not paid back.",
        f"{_HERE}/{job.id}/delete",
        "Delete the batch",
        f"{_HERE}/{job.id}",
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post(f"{_HERE}/{{id_:str}}/delete", opt=SESSION)
async def remove(context: Context, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Delete it."""
    job = await _find(context, signed_in, id_)
    while not await context.writer.write(jobs.remove, Of(job.id, job.workspace_id, now()), apart=True):
        pass
    return see_other(_HERE)


async def _find(context: Context, signed_in: SignedIn, id_: str) -> Job:
    _check(id_)
    owner = signed_in.user.sees_only
    return await context.database.read(lambda connection: jobs.find(connection, id_, None, owner))


def _check(id_: str) -> None:
    if not _ID.fullmatch(id_):
        raise NotFoundError("no batch has this id", metadata={"field": "id"})


def _list(connection: Any, wanted: JobFilter, at: int) -> Found:
    page = jobs.page(connection, wanted)
    keys = keys_of(connection, {job.key_id for job in page.jobs})
    return Found(tuple(Row(job, keys.get(job.key_id), at) for job in page.jobs), page.more)


def _detail(connection: Any, id_: str, owner: str | None, at: int) -> Detail:
    job = jobs.find(connection, id_, None, owner)
    key = keys_of(connection, {job.key_id}).get(job.key_id)
    failed = lines(connection, id_, limit=_FAILURES, status="failed") if job.failed else ()
    return Detail(Row(job, key, at), tuple(Failure(line, _message(line)) for line in failed))


def _message(line: Line) -> str:
    return "" if line.error_json is None else str(msgspec.json.decode(line.error_json).get("message", ""))
