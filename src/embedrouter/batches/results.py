"""What becomes of lines: written in the transaction of their generation, or as a failure; counted in the job's row."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, update

from embedrouter.errors import ConflictError
from embedrouter.store import Batch, Statement
from embedrouter.store.batch_tables import batch_lines, batches


class Done(NamedTuple):
    """A line's result."""

    job_id: str
    number: int
    generation_id: str
    request_id: str
    tokens: int
    cost_pico: int
    vectors: bytes  # float32, little-endian, (n, dimensions)
    dimensions: int
    encoding_format: str


class Failed(NamedTuple):
    """Lines that have failed the same way. status_code: HTTP; None: they were never asked."""

    job_id: str
    numbers: Sequence[int]
    status_code: int | None
    error_json: str
    request_id: str | None = None


class AlreadyDoneError(ConflictError):
    """The line is done, by a try that seemed to fail or by another process, or its job has ended."""


class LineBook:
    """The ledger's: a line that waits in a job that is worked on becomes done; any other is refused."""

    def refuse(self, batch: Batch, rows: Sequence[Done]) -> Sequence[Exception | None]:
        """AlreadyDoneError for all but those that wait."""
        waiting = {of: _waiting(batch, of, [row.number for row in some]) for of, some in _by_job(rows).items()}
        refused: list[Exception | None] = []
        for row in rows:
            there = row.number in waiting[row.job_id]
            waiting[row.job_id].discard(row.number)  # of two tries at a line the first counts
            refused.append(None if there else AlreadyDoneError(f"line {row.number} of {row.job_id} is done already"))
        return refused

    def write(self, batch: Batch, rows: Sequence[Done]) -> None:
        """Write results, and count them."""
        _FINISH.run(
            batch,
            [
                {
                    "of_batch": row.job_id,
                    "at": row.number,
                    "generation": row.generation_id,
                    "request": row.request_id,
                    "read": row.tokens,
                    "result": row.vectors,
                    "size": row.dimensions,
                    "format": row.encoding_format,
                }
                for row in rows
            ],
        )
        for job_id, some in _by_job(rows).items():
            _COUNT.run(
                batch,
                [
                    {
                        "of_batch": job_id,
                        "done": len(some),
                        "lost": 0,
                        "read": sum(row.tokens for row in some),
                        "paid": sum(row.cost_pico for row in some),
                    }
                ],
            )


LINES: Final = LineBook()


def fail_lines(batch: Batch, failures: Sequence[Failed]) -> Sequence[int]:
    """The writer's handler: how many of the lines waited and have failed now."""
    return [_failed(batch, one) for one in failures]


def _failed(batch: Batch, one: Failed) -> int:
    waiting = _waiting(batch, one.job_id, one.numbers)
    if not waiting:
        return 0
    table = batch_lines
    values = {
        "status": "failed",
        "status_code": one.status_code,
        "error_json": one.error_json,
        "request_id": one.request_id,
        "body": b"",
    }
    lost = update(table).where(table.c.batch_id == one.job_id, table.c.number.in_(waiting)).values(values)
    count = batch.connection.execute(lost).rowcount
    _COUNT.run(batch, [{"of_batch": one.job_id, "done": 0, "lost": count, "read": 0, "paid": 0}])
    return count


def _waiting(batch: Batch, job_id: str, numbers: Sequence[int]) -> set[int]:
    """Which of them are still to be done, in a job that is worked on."""
    mark = "?" if batch.database.is_sqlite else "%s"
    batch.cursor.execute(
        "SELECT number FROM batch_lines JOIN batches ON batches.id = batch_lines.batch_id "  # noqa: S608 (our own numbers)
        f"WHERE batch_id = {mark} AND batches.status IN ('in_progress', 'cancelling') "
        f"AND batch_lines.status = 'pending' AND number IN ({', '.join(map(str, numbers))})",
        (job_id,),
    )
    return {row[0] for row in batch.cursor.fetchall()}


def _by_job(rows: Sequence[Done]) -> Mapping[str, Sequence[Done]]:
    jobs: dict[str, list[Done]] = {}
    for row in rows:
        jobs.setdefault(row.job_id, []).append(row)
    return jobs


def _finish(_: Any) -> Any:
    table = batch_lines
    return (
        update(table)
        .where(table.c.batch_id == bindparam("of_batch"), table.c.number == bindparam("at"))
        .values(
            status="done",
            status_code=200,
            body=b"",
            generation_id=bindparam("generation"),
            request_id=bindparam("request"),
            tokens=bindparam("read"),
            vectors=bindparam("result"),
            dimensions=bindparam("size"),
            encoding_format=bindparam("format"),
        )
    )


def _count(_: Any) -> Any:
    table = batches
    return (
        update(table)
        .where(table.c.id == bindparam("of_batch"))
        .values(
            completed=table.c.completed + bindparam("done"),
            failed=table.c.failed + bindparam("lost"),
            prompt_tokens=table.c.prompt_tokens + bindparam("read"),
            cost_pico=table.c.cost_pico + bindparam("paid"),
        )
    )


_FINISH: Final = Statement(_finish)
_COUNT: Final = Statement(_count)
