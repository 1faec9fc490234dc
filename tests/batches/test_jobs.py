"""Jobs, lines and files in the database, as the routes and the runner write them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from embedrouter.batches import files, jobs
from embedrouter.batches.calling import Called, Claim, called, claim
from embedrouter.batches.files import FileFilter, NewFile, OfFile, Part, Whole
from embedrouter.batches.job import Job, JobError
from embedrouter.batches.jobs import Failure, JobFilter, NewJob, NewLines, Of, Start
from embedrouter.batches.leases import ABANDONED, End, Renewal, Wish, end, is_anything_free, lease, let_go, renew
from embedrouter.batches.lines import Line, NewLine, lines, waiting
from embedrouter.batches.results import Failed, fail_lines
from embedrouter.batches.tidying import Tidying
from embedrouter.errors import ConflictError, EmbedRouterError, InvalidRequestError, NotFoundError, PayloadTooLargeError
from embedrouter.periods import DAY, SECOND
from embedrouter.settings import Settings
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate

AT = 1_767_225_600_000_000  # microseconds
HOME, OTHER = "home", "other"


class Desk:
    """A database with its writer."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        migrate(self.database)
        self.writer = Writer(self.database)

    def write(self, handler: Callable[[Batch, Sequence[Any]], Sequence[Any]], payload: Any) -> Any:
        return self.writer.submit(handler, payload).result()

    def refused(self, handler: Callable[[Batch, Sequence[Any]], Sequence[Any]], payload: Any) -> EmbedRouterError:
        with pytest.raises(EmbedRouterError) as caught:
            self.write(handler, payload)
        return caught.value

    def create(self, workspace: str = HOME, at: int = AT, **fields: Any) -> Job:
        new = NewJob(jobs.new_id(), 1, workspace, None, "openrouter", "/v1/embeddings", "a/model", at, **fields)
        made: Job = self.write(jobs.create, new)
        return made

    def add(self, job: Job, *ids: str, body: bytes = b"{}") -> Any:
        return self.write(jobs.add_lines, NewLines(job.id, [NewLine(name, body) for name in ids], AT))

    def started(self, *ids: str, **fields: Any) -> Job:
        job = self.create(**fields)
        self.add(job, *ids)
        made: Job = self.write(jobs.start, Start(job.id, AT))
        return made

    def now(self, job: Job) -> Job:
        return self.database.read_now(lambda connection: jobs.find(connection, job.id, HOME))

    def lines(self, job: Job, after: int = -1, **which: Any) -> Sequence[Line]:
        return self.database.read_now(lambda connection: lines(connection, job.id, after, **which))

    def page(self, **which: Any) -> jobs.Page:
        return self.database.read_now(lambda connection: jobs.page(connection, JobFilter(HOME, **which)))

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@pytest.fixture
def desk(database_url: str) -> Any:
    made = Desk(database_url)
    yield made
    made.close()


def _again(handler: Callable[[Batch, Sequence[Any]], Sequence[Any]]) -> Callable[[Batch, Sequence[Any]], Sequence[Any]]:
    """As the writer calls it when a connection broke, and the first try may have been committed."""
    return lambda batch, payloads: handler(batch._replace(again=True), payloads)


def test_a_job_takes_its_lines_in_pieces_and_each_custom_id_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.create(metadata_json="{}")
    assert (job.status, job.total, job.expires_at - job.created_at) == ("validating", 0, DAY * SECOND)
    assert isinstance(desk.refused(jobs.start, Start(job.id, AT)), InvalidRequestError)
    assert desk.add(job, "a", "b", body=b'{"input": "x"}') == 2
    for ids in (("c", "a"), ("c", "d", "c")):
        with pytest.raises(InvalidRequestError, match=r'custom_id: "[ac]" is there twice'):
            desk.add(job, *ids)
    assert desk.add(job, "c") == 3
    added = NewLines(job.id, [NewLine("c", b"{}")], AT)
    assert desk.write(_again(jobs.add_lines), added) == 3  # the try that seemed to fail was committed
    assert [(one.number, one.custom_id, one.status) for one in desk.lines(job)] == [
        (0, "a", "pending"), (1, "b", "pending"), (2, "c", "pending")
    ]  # fmt: skip
    assert [one.body for one in desk.lines(job, 0, limit=1)] == [b'{"input": "x"}']
    assert desk.now(job).bytes == 2 * 14 + 2

    monkeypatch.setattr(jobs, "MOST_LINES", 4)
    with pytest.raises(PayloadTooLargeError, match="may have 4 requests"):
        desk.add(job, "d", "e")
    monkeypatch.setattr(jobs, "MOST_BYTES", 31)
    with pytest.raises(PayloadTooLargeError):
        desk.add(job, "d")

    begun = desk.write(jobs.start, Start(job.id, AT + 1))
    assert (begun.status, begun.in_progress_at) == ("in_progress", AT + 1)
    assert desk.write(_again(jobs.start), Start(job.id, AT + 1)) == begun
    with pytest.raises(ConflictError, match="in_progress"):
        desk.add(job, "z")
    with pytest.raises(InvalidRequestError, match="24h"):
        desk.create(completion_window="1y")


def test_jobs_are_listed_newest_first_and_seen_by_their_workspace_only(desk: Desk) -> None:
    made = [desk.create(at=AT + number // 2) for number in range(5)]
    desk.create(OTHER)
    ordered = sorted(made, key=lambda job: (job.created_at, job.id), reverse=True)
    first = desk.page(limit=2)
    assert first == (tuple(ordered[:2]), True)
    assert desk.page(limit=3, after=ordered[1].id) == (tuple(ordered[2:]), False)
    assert desk.page(created_after=AT, created_before=AT + 2).jobs == tuple(
        x for x in ordered if x.created_at == AT + 1
    )
    desk.write(jobs.cancel, Of(made[0].id, HOME, AT))
    assert [job.id for job in desk.page(statuses=("cancelled", "failed")).jobs] == [made[0].id]
    assert desk.page(form="openai").jobs == ()
    for wanted in (Of(made[1].id, OTHER, AT), Of("batch_no", HOME, AT)):
        for handler in (jobs.cancel, jobs.remove):
            assert isinstance(desk.refused(handler, wanted), NotFoundError)


def test_a_job_is_cancelled_failed_and_deleted_as_its_state_allows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "STEP", 2)
    job = desk.started("a", "b", "c", callback_url="https://example.com/")
    assert isinstance(desk.refused(jobs.remove, Of(job.id, HOME, AT)), ConflictError)
    assert isinstance(desk.refused(jobs.fail, Failure(job.id, JobError("x", "y"), AT)), ConflictError)
    cancelling = desk.write(jobs.cancel, Of(job.id, HOME, AT + 5))
    assert (cancelling.status, cancelling.cancelling_at) == ("cancelling", AT + 5)
    assert desk.write(jobs.cancel, Of(job.id, HOME, AT + 6)) == cancelling
    assert desk.write(end, End(job.id, "cancelled", AT + 7)) is False  # lines wait
    assert desk.database.read_now(lambda connection: waiting(connection, job.id, 0, 10)) == [1, 2]
    assert desk.write(fail_lines, Failed(job.id, [0, 1, 2], None, "{}")) == 3
    assert desk.write(fail_lines, Failed(job.id, [0, 1, 2], None, "{}")) == 0  # once
    assert desk.write(end, End(job.id, "cancelled", AT + 7)) is True
    ended = desk.now(job)
    assert (ended.status, ended.failed, ended.finalized_at, ended.callback_due) == ("cancelled", 3, AT + 7, AT + 7)
    assert {line.body for line in desk.lines(job)} == {b""}
    assert isinstance(desk.refused(jobs.cancel, Of(job.id, HOME, AT)), ConflictError)

    [claimed] = desk.write(claim, Claim(AT + 8, AT + 100))
    assert (claimed.id, claimed.callback_tries) == (job.id, 1)
    assert desk.write(claim, Claim(AT + 99, AT + 200)) == []
    desk.write(called, Called(job.id, None))
    assert desk.write(claim, Claim(AT + 1_000, AT + 2_000)) == []

    assert [desk.write(jobs.remove, Of(job.id, HOME, AT)) for _ in range(2)] == [False, True]
    assert desk.lines(job) == []
    assert isinstance(desk.refused(jobs.remove, Of(job.id, HOME, AT)), NotFoundError)

    wrong = desk.create()
    desk.add(wrong, "a")
    failed = desk.write(jobs.fail, Failure(wrong.id, JobError("invalid_json", "line 2 is no JSON", 1), AT))
    assert failed.status == "failed"
    assert failed.problem == JobError("invalid_json", "line 2 is no JSON", 1)


def test_a_job_belongs_to_one_process_while_its_lease_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [AT]
    monkeypatch.setattr(desk.database, "now", lambda _: clock[0])
    older, newer = desk.started("a"), desk.started("a", at=AT + 1)
    assert [job.id for job in desk.write(lease, Wish("one", 1))] == [older.id]
    assert [job.id for job in desk.write(lease, Wish("two", 5))] == [newer.id]
    assert not desk.database.read_now(lambda connection: is_anything_free(connection, clock[0]))
    clock[0] += 5 * SECOND
    assert [job.id for job in desk.write(renew, Renewal("one", (older.id, newer.id)))] == [older.id]
    clock[0] += 5 * SECOND
    assert desk.database.read_now(lambda connection: is_anything_free(connection, clock[0]))
    assert [job.id for job in desk.write(lease, Wish("one", 5))] == [newer.id]  # the other died
    assert desk.write(renew, Renewal("two", (newer.id,))) == []
    desk.write(let_go, Renewal("two", (newer.id,)))  # its last words change nothing
    assert desk.write(lease, Wish("two", 5)) == []
    desk.write(let_go, Renewal("one", (older.id, newer.id)))
    assert [job.id for job in desk.write(lease, Wish("two", 1))] == [older.id]


def test_jobs_of_keys_that_are_held_back_are_left_unless_they_are_cancelled(desk: Desk) -> None:
    job = desk.started("a")
    but = (job.key_id,)
    assert desk.database.read_now(lambda connection: is_anything_free(connection, AT, (job.key_id + 1,)))
    assert not desk.database.read_now(lambda connection: is_anything_free(connection, AT, but))
    assert desk.write(lease, Wish("one", 5, but)) == []
    desk.write(jobs.cancel, Of(job.id, HOME, AT))
    assert desk.database.read_now(lambda connection: is_anything_free(connection, AT, but))
    assert [one.id for one in desk.write(lease, Wish("one", 5, but))] == [job.id]


def test_a_file_is_found_once_it_is_whole_and_read_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "STEP", 2)
    new = NewFile(files.new_id(), 1, HOME, None, "lines.jsonl", "batch", AT)
    desk.write(files.create, new)
    parts = [b"one", b"two", b"two"]
    assert [desk.write(files.append, Part(new.id, data, n)) for n, data in enumerate(parts)] == [3, 6, 9]
    assert desk.write(_again(files.append), Part(new.id, b"two", 2)) == 9
    with pytest.raises(NotFoundError):
        desk.database.read_now(lambda connection: files.find(connection, new.id, HOME))
    whole = desk.write(files.finish, Whole(new.id, AT + 10))
    assert (whole.bytes, whole.status, whole.filename, whole.expires_at) == (9, "uploaded", "lines.jsonl", AT + 10)
    assert isinstance(desk.refused(files.append, Part(new.id, b"x")), ConflictError)

    def read(number: int) -> bytes | None:
        return desk.database.read_now(lambda connection: files.read_part(connection, new.id, number))

    assert [read(number) for number in range(4)] == [*parts, None]
    listed = desk.database.read_now(lambda connection: files.page(connection, FileFilter(HOME, purpose="batch")))
    assert listed == ((whole,), False)
    assert isinstance(desk.refused(files.remove, OfFile(new.id, OTHER)), NotFoundError)
    assert desk.write(files.remove, OfFile(new.id, HOME)) is False
    with pytest.raises(NotFoundError):
        desk.database.read_now(lambda connection: files.find(connection, new.id, HOME))
    assert desk.write(files.remove, OfFile(new.id, HOME)) is True


def test_what_is_old_is_removed_and_what_was_left_halfway_ends(desk: Desk) -> None:
    kept, gone, broken = desk.started("a"), desk.create(), desk.create()
    desk.add(gone, "a")
    desk.write(jobs.fail, Failure(gone.id, JobError("x", "y"), AT))
    old, half = (NewFile(files.new_id(), 1, HOME, None, "f", "batch", AT) for _ in range(2))
    for one in (old, half):
        desk.write(files.create, one)
        desk.write(files.append, Part(one.id, b"x"))
    desk.write(files.finish, Whole(old.id, AT + 1))

    tidying = Tidying(desk.writer, Settings())
    assert tidying.tidy(AT + ABANDONED + 1, 5.0)
    assert desk.now(broken).problem is not None
    assert desk.now(gone).status == "failed"
    with pytest.raises(NotFoundError):  # it expired
        desk.database.read_now(lambda connection: files.find(connection, old.id, HOME))
    assert tidying.tidy(AT + 31 * DAY * SECOND, 5.0)
    assert [job.id for job in desk.page().jobs] == [kept.id]  # whatever its age: nobody has worked on it yet
    assert isinstance(desk.refused(files.remove, OfFile(half.id, HOME)), NotFoundError)
