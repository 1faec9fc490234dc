"""Who works on which job: one process at a time, for as long as it says so; and how a job ends.

A lease that is lost does no harm: a line that is done is refused to whoever computes it once more. It only keeps two
processes from computing the same.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, and_, bindparam, or_, select, update
from sqlalchemy.sql import ColumnElement

from embedrouter.batches.job import Job, JobError, Status
from embedrouter.periods import SECOND
from embedrouter.store import Batch
from embedrouter.store.batch_tables import batches

LEASE: Final = 8 * SECOND  # microseconds; a process that is killed keeps its jobs from others for so long
ABANDONED: Final = 900 * SECOND  # microseconds without another line, after which an upload is over
_WORKED_ON: Final = ("in_progress", "cancelling")


class Wish(NamedTuple):
    """A process that has hands free for `most` jobs. but: keys whose limits refuse their jobs at the moment."""

    owner: str
    most: int
    but: tuple[int, ...] = ()


class Renewal(NamedTuple):
    """The jobs that a process works on."""

    owner: str
    ids: tuple[str, ...]


class End(NamedTuple):
    """How a job ends whose lines are all done or failed. at: now, in microseconds."""

    job_id: str
    status: Status
    at: int
    error: JobError | None = None


def is_anything_free(connection: Connection, at: int, but: tuple[int, ...] = ()) -> bool:
    """Whether a job waits for a process. at: now, in microseconds, about; but: as in Wish."""
    query = _anything_free(but) if but else _ANYTHING
    return connection.execute(query, {"at": at}).first() is not None


def lease(batch: Batch, wishes: Sequence[Wish]) -> Sequence[Sequence[Job]]:
    """The writer's handler: gives the oldest jobs that nobody works on."""
    return [_lease(batch, wish) for wish in wishes]


def renew(batch: Batch, wanted: Sequence[Renewal]) -> Sequence[Sequence[Job]]:
    """The writer's handler: those that are theirs still, for a while longer, as they are now."""
    return [_renew(batch, one) for one in wanted]


def let_go(batch: Batch, wanted: Sequence[Renewal]) -> Sequence[None]:
    """The writer's handler: gives jobs back, for others to take at once."""
    for one in wanted:
        mine = and_(batches.c.id.in_(one.ids), batches.c.lease_owner == one.owner)
        batch.connection.execute(update(batches).where(mine).values(lease_owner=None, lease_until=None))
    return [None] * len(wanted)


def end(batch: Batch, ends: Sequence[End]) -> Sequence[bool]:
    """The writer's handler: ends jobs; False for one with lines that wait, or that has ended."""
    return [_end(batch, one) for one in ends]


def fail_abandoned(batch: Batch, times: Sequence[int]) -> Sequence[int]:
    """The writer's handler: ends jobs whose upload broke, by the time in microseconds; how many."""
    answers = []
    for at in times:
        uploaded = and_(batches.c.status == "validating", batches.c.form == "openrouter")  # others are read from files
        left = and_(uploaded, batches.c.touched_at < at - ABANDONED)
        error = JobError("upload_broken", "the upload ended before the batch was complete; send it again")
        values = {"status": "failed", "finalized_at": at, "error": msgspec.json.encode(error).decode()}
        answers.append(batch.connection.execute(update(batches).where(left).values(values)).rowcount)
    return answers


def _free(at: int | ColumnElement[int], but: tuple[int, ...]) -> ColumnElement[bool]:
    nobody = or_(batches.c.lease_until.is_(None), batches.c.lease_until < at)
    free = and_(batches.c.status.in_(_WORKED_ON), nobody)
    return and_(free, or_(batches.c.key_id.not_in(but), batches.c.status == "cancelling")) if but else free


def _anything_free(but: tuple[int, ...]) -> Select[tuple[str]]:
    return select(batches.c.id).where(_free(bindparam("at"), but)).limit(1)


_ANYTHING: Final = _anything_free(())  # built once, as every process asks twice a second


def _lease(batch: Batch, wish: Wish) -> Sequence[Job]:
    at = batch.database.now(batch.connection)
    oldest = select(batches.c.id).where(_free(at, wish.but)).order_by(batches.c.created_at, batches.c.id)
    taken = (
        update(batches)
        .where(batches.c.id.in_(oldest.limit(wish.most)))
        .values(lease_owner=wish.owner, lease_until=at + LEASE)
        .returning(batches)
    )
    return [Job(**row) for row in batch.connection.execute(taken).mappings()]


def _renew(batch: Batch, one: Renewal) -> Sequence[Job]:
    at = batch.database.now(batch.connection)
    mine = and_(batches.c.id.in_(one.ids), batches.c.lease_owner == one.owner, batches.c.status.in_(_WORKED_ON))
    kept = update(batches).where(mine).values(lease_until=at + LEASE).returning(batches)
    return [Job(**row) for row in batch.connection.execute(kept).mappings()]


def _end(batch: Batch, one: End) -> bool:
    whole = batches.c.total == batches.c.completed + batches.c.failed
    over = and_(batches.c.id == one.job_id, batches.c.status.in_(_WORKED_ON), whole)
    values = {
        "status": one.status,
        "finalizing_at": one.at,
        "finalized_at": one.at,
        "error": None if one.error is None else msgspec.json.encode(one.error).decode(),
        "lease_owner": None,
        "lease_until": None,
    }
    if not batch.connection.execute(update(batches).where(over).values(values)).rowcount:
        return False
    called = and_(batches.c.id == one.job_id, batches.c.callback_url.is_not(None))
    batch.connection.execute(update(batches).where(called).values(callback_due=one.at))
    return True
