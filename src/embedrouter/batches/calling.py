"""Which ended jobs have somebody to call: claimed by one process at a time, and again later if that fails."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, update

from embedrouter.batches.job import Job
from embedrouter.store import Batch
from embedrouter.store.batch_tables import batches


class Claim(NamedTuple):
    """Jobs whose call is due at `at`. They are due again at `again_at`, unless it is known by then how it went."""

    at: int  # microseconds
    again_at: int  # microseconds
    limit: int = 10


class Called(NamedTuple):
    """How a call went. due: when to try again, in microseconds; None: it is done with."""

    job_id: str
    due: int | None


def claim(batch: Batch, wanted: Sequence[Claim]) -> Sequence[Sequence[Job]]:
    """The writer's handler: jobs to call for, each given to one caller; `callback_tries` counts this try already."""
    return [_claimed(batch, one) for one in wanted]


def called(batch: Batch, told: Sequence[Called]) -> Sequence[None]:
    """The writer's handler: takes in how calls went."""
    for one in told:
        batch.connection.execute(update(batches).where(batches.c.id == one.job_id).values(callback_due=one.due))
    return [None] * len(told)


def _claimed(batch: Batch, wanted: Claim) -> Sequence[Job]:
    due = select(batches.c.id).where(batches.c.callback_due <= wanted.at).order_by(batches.c.callback_due)
    taken = (
        update(batches)
        .where(batches.c.id.in_(due.limit(wanted.limit)))
        .values(callback_due=wanted.again_at, callback_tries=batches.c.callback_tries + 1)
        .returning(batches)
    )
    return [Job(**row) for row in batch.connection.execute(taken).mappings()]
