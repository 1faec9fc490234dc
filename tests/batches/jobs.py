"""Jobs made in a server's own database, as the routes make them."""

import json
import time
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from embedrouter.accounts import keys
from embedrouter.accounts.keys import digest_of
from embedrouter.batches import jobs
from embedrouter.batches.job import Job
from embedrouter.batches.jobs import NewJob, NewLines, Of, Start
from embedrouter.batches.lines import Line, NewLine, lines
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.batch_tables import batches
from server import KEY, MODEL


def make_job(database: Database, bodies: Sequence[object], *, key: str = KEY, model: str | None = MODEL) -> Job:
    """A job that waits for a runner; `line-0`, `line-1`, ... are its custom ids."""
    owner = database.read_now(lambda connection: keys.find(connection, digest_of(key).hex()))
    at = time.time_ns() // 1000
    new = NewJob(jobs.new_id(), owner.id, owner.workspace_id, owner.owner_id, "openrouter", "/v1/embeddings", model, at)
    writer = Writer(database)
    writer.submit(jobs.create, new).result()
    for start in range(0, len(bodies), jobs.PIECE):
        some = bodies[start : start + jobs.PIECE]
        added = [NewLine(f"line-{n}", json.dumps(body).encode()) for n, body in enumerate(some, start)]
        writer.submit(jobs.add_lines, NewLines(new.id, added, at)).result()
    made = writer.submit(jobs.start, Start(new.id, at)).result()
    writer.close()
    return made


def job_now(database: Database, job: Job) -> Job:
    return database.read_now(lambda connection: jobs.find(connection, job.id, None))


def every_job(database: Database) -> list[Job]:
    query = select(batches).order_by(batches.c.created_at)
    return database.read_now(lambda connection: [Job(**row) for row in connection.execute(query).mappings()])


def lines_of(database: Database, job: Job) -> list[Line]:
    """All of them."""
    found: list[Line] = []

    def more(connection: Connection) -> Sequence[Line]:
        return lines(connection, job.id, found[-1].number if found else -1)

    while some := database.read_now(more):
        found += some
    return found


def cancel(database: Database, job: Job) -> None:
    """As another process does it."""
    writer = Writer(database)
    writer.submit(jobs.cancel, Of(job.id, job.workspace_id, time.time_ns() // 1000)).result()
    writer.close()


def let_leases_run_out(database: Database) -> None:
    """Those of processes that were killed, without waiting for it."""

    def write(batch: Batch, payloads: Sequence[None]) -> Sequence[None]:
        batch.connection.execute(update(batches).values(lease_until=0))
        return [None] * len(payloads)

    writer = Writer(database)
    writer.submit(write, None).result()
    writer.close()
