"""Batches that get their lines from a file, also after they were broken off."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, update

from embedrouter.app import make_context, open_store
from embedrouter.batches import files, jobs
from embedrouter.batches.files import NewFile, OfFile, Part, Whole
from embedrouter.batches.filler import LEASE, Filler, Taken, take
from embedrouter.batches.filling import fill
from embedrouter.batches.job import Job
from embedrouter.batches.jobs import NewJob, NewLines
from embedrouter.batches.lines import NewLine
from embedrouter.context import Context
from embedrouter.ledger.book import now
from embedrouter.minilm import MiniLM
from embedrouter.settings import Settings
from embedrouter.store import Batch
from embedrouter.store.batch_tables import batch_lines, batches
from server import MODEL


@pytest.fixture
def context(database_url: str, tmp_path: Path, model: MiniLM) -> Iterator[Context]:
    settings = Settings(data_dir=tmp_path, database_url=database_url)
    store = open_store(settings)
    yield make_context(settings, store, model)
    store.close()


def _line(number: int) -> bytes:
    body = {"model": MODEL, "input": f"text {number}"}
    return json.dumps({"custom_id": f"c{number}", "method": "POST", "url": "/v1/embeddings", "body": body}).encode()


def _job(context: Context, content: bytes) -> Job:
    """The parts of its file end in the middle of lines."""
    file = NewFile(files.new_id(), 1, "w", None, "a.jsonl", "batch", now())
    context.writer.submit(files.create, file).result()
    for start in range(0, len(content), 7_001):
        context.writer.submit(files.append, Part(file.id, content[start : start + 7_001])).result()
    context.writer.submit(files.finish, Whole(file.id)).result()
    new = NewJob(jobs.new_id(), 1, "w", None, "openai", "/v1/embeddings", None, now(), input_file_id=file.id)
    return context.writer.submit(jobs.create, new).result()


def _now(context: Context, job: Job) -> Job:
    return context.database.read_now(lambda connection: jobs.find(connection, job.id, None))


def _ids(context: Context, job: Job) -> Sequence[str]:
    query = select(batch_lines.c.custom_id).where(batch_lines.c.batch_id == job.id).order_by(batch_lines.c.number)
    return context.database.read_now(lambda connection: connection.execute(query).scalars().all())


def _filled(context: Context, job: Job) -> Job:
    return asyncio.run(fill(job, context.database, context.writer, context.gateway))


def test_a_byte_order_mark_before_the_first_line_is_none_of_its_characters(context: Context) -> None:
    filled = _filled(context, _job(context, b"\xef\xbb\xbf" + _line(0) + b"\n" + _line(1)))
    assert (filled.status, filled.total, filled.error) == ("in_progress", 2, None)


def test_a_batch_that_was_broken_off_goes_on_where_it_was(context: Context) -> None:
    job = _job(context, b"\r\n\n".join(map(_line, range(1_200))) + b"\n")
    some = [NewLine(f"c{number}", json.dumps({"model": MODEL, "input": "x"}).encode()) for number in range(500)]
    context.writer.submit(jobs.add_lines, NewLines(job.id, some, now())).result()
    filled = _filled(context, _now(context, job))
    assert (filled.status, filled.total) == ("in_progress", 1_200)
    assert _ids(context, job) == [f"c{number}" for number in range(1_200)]


def test_a_file_that_is_gone_fails_its_batch(context: Context) -> None:
    job = _job(context, _line(0))
    assert job.input_file_id is not None
    context.writer.submit(files.remove, OfFile(job.input_file_id, "w")).result()
    filled = _filled(context, job)
    assert filled.status == "failed"
    assert filled.problem is not None
    assert (filled.problem.code, filled.problem.param) == ("file_not_found", "input_file_id")


def test_of_several_processes_one_fills_a_batch(context: Context) -> None:
    job = _job(context, _line(0) + b"\n" + _line(1))

    async def run() -> int:
        fillers = [Filler(context.database, context.writer, context.gateway) for _ in range(3)]
        return sum(await asyncio.gather(*(one.turn() for one in fillers)))

    assert asyncio.run(run()) == 1
    found = _now(context, job)
    assert (found.status, found.total, found.model) == ("in_progress", 2, MODEL)
    assert (found.lease_owner, found.lease_until) == (None, None)


def test_a_process_that_dies_leaves_its_batch_to_others(context: Context) -> None:
    job = _job(context, _line(0))
    at = now()
    assert context.writer.submit(take, Taken("dead", at)).result() is not None
    assert context.writer.submit(take, Taken("living", at + LEASE - 1)).result() is None
    taken = context.writer.submit(take, Taken("living", at + LEASE + 1)).result()
    assert taken is not None
    assert taken.id == job.id


def test_what_nobody_foresaw_fails_its_batch_and_keeps_no_other_waiting(context: Context) -> None:
    broken, whole = _job(context, _line(0)), _job(context, _line(1))
    there = NewLines(broken.id, [NewLine("there", b"{}")], now())
    context.writer.submit(jobs.add_lines, there).result()
    context.writer.submit(_forget_lines, broken.id).result()
    filler = Filler(context.database, context.writer, context.gateway)

    async def run() -> None:
        while await filler.turn():
            pass

    asyncio.run(run())
    failed = _now(context, broken)
    assert failed.status == "failed"
    assert failed.problem is not None
    assert failed.problem.code == "server_error"
    assert _now(context, whole).status == "in_progress"


def _forget_lines(batch: Batch, ids: Sequence[str]) -> Sequence[None]:
    """So that its next line cannot be written."""
    batch.connection.execute(update(batches).where(batches.c.id.in_(ids)).values(total=0))
    return [None] * len(ids)


def test_a_custom_id_that_postgresql_cannot_keep_is_refused(context: Context) -> None:
    filled = _filled(context, _job(context, _line(0) + b"\n" + _line(1).replace(b'"c1"', b'"c\\u00001"')))
    assert filled.problem is not None
    assert (filled.problem.code, filled.problem.line, filled.problem.param) == ("invalid_request", 1, "custom_id")
