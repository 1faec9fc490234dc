"""Batches and files that are old are removed in small steps, each a short transaction of the one writer.

Their generations stay, and with them what was charged.
"""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import and_, or_, select

from embedrouter.batches.files import drop_parts
from embedrouter.batches.jobs import drop_lines
from embedrouter.batches.leases import fail_abandoned
from embedrouter.periods import DAY, SECOND
from embedrouter.settings import Settings
from embedrouter.store import Batch, Writer
from embedrouter.store.batch_tables import batches, files

_TURN: Final = 0.2  # seconds of steps at a time; the keeper has other chores
_EVERY: Final = 60.0  # seconds
_UPLOAD: Final = DAY * SECOND  # microseconds after which a file that is not whole will never be


class Old(NamedTuple):
    """What ended or was uploaded before `before` is to go, and files that expired by `at`; microseconds."""

    at: int
    before: int


class Tidying:
    """Applies the setting, a little at each call. One thread."""

    def __init__(self, writer: Writer, settings: Settings) -> None:
        self._writer = writer
        self._keep = settings.keep_batches_days * DAY * SECOND
        self._due = time.monotonic() + _EVERY

    def turn(self) -> None:
        """If it is due: end broken uploads, and remove what fits a moment. Raises StoreUnavailableError."""
        if time.monotonic() >= self._due and self.tidy(time.time_ns() // 1000, _TURN):
            self._due = time.monotonic() + _EVERY

    def tidy(self, at: int, seconds: float) -> bool:
        """As of a time in microseconds; whether all of it was done in so many seconds."""
        until = time.monotonic() + seconds
        self._writer.submit(fail_abandoned, at).result()
        while self._writer.submit(remove, Old(at, at - self._keep if self._keep else 0)).result():
            if time.monotonic() >= until:
                return False
        return True


def remove(batch: Batch, wanted: Sequence[Old]) -> Sequence[bool]:
    """The writer's handler: removes one step of what is old; whether there was anything."""
    return [_removed(batch, one) for one in wanted]


def _removed(batch: Batch, old: Old) -> bool:
    job_id = batch.connection.execute(
        select(batches.c.id).where(batches.c.finalized_at < old.before).limit(1)
    ).scalar_one_or_none()
    if job_id is not None:
        drop_lines(batch, job_id)
        return True
    half = and_(files.c.status == "uploading", files.c.created_at < old.at - _UPLOAD)
    over = or_(files.c.created_at < old.before, files.c.expires_at < old.at, half)
    file_id = batch.connection.execute(select(files.c.id).where(over).limit(1)).scalar_one_or_none()
    if file_id is not None:
        drop_parts(batch, file_id)
    return file_id is not None
