"""Callbacks with a real receiver: signed, tried again until they are taken, also by another process."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import update

from embedrouter.accounts.sealing import Sealer
from embedrouter.accounts.webhooks import PREFIX, WebhookSigner
from embedrouter.batches import jobs
from embedrouter.batches.callbacks import WAITS, Callbacks
from embedrouter.batches.calling import Called, called
from embedrouter.batches.job import Job, JobError
from embedrouter.batches.jobs import Failure, NewJob
from embedrouter.batches.terms import Terms, set_terms
from embedrouter.ledger.book import now
from embedrouter.providers.transport import Transport
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.batch_tables import batches
from embedrouter.store.migrate import migrate


class Received(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers with the statuses it is given, then with 204."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.received.append(Received({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 204)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    made = Writer(database)
    yield made
    made.close()


@pytest.fixture
def signer(tmp_path: Path) -> WebhookSigner:
    return WebhookSigner(Sealer(tmp_path))


def _failed_job(writer: Writer, url: str) -> Job:
    new = NewJob(jobs.new_id(), 1, "workspace", None, "openrouter", "/v1/embeddings", "a/model", now())
    writer.submit(jobs.create, new).result()
    writer.submit(set_terms, Terms(new.id, None, url, '{"a":"b"}')).result()
    return writer.submit(jobs.fail, Failure(new.id, JobError("wrong", "it was wrong"), now())).result()


def _turns(database: Database, writer: Writer, signer: WebhookSigner, *, private: bool = True, count: int = 1) -> int:
    """By a process that begins and ends with it; how many calls it made."""

    async def run() -> int:
        callbacks = Callbacks(database, writer, signer, Transport(), private=private)
        made = sum([await callbacks.turn() for _ in range(count)])
        await callbacks.close()
        return made

    return asyncio.run(run())


def _now(database: Database, job: Job) -> Job:
    return database.read_now(lambda connection: jobs.find(connection, job.id, None))


def _verified(secret: str, received: Received) -> Any:
    """As a receiver verifies it; the standard's own words, none of our code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    sent = received.headers
    signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + received.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert expected in sent["webhook-signature"].split(" ")
    assert abs(int(sent["webhook-timestamp"]) - time.time()) < 60
    return json.loads(received.body)


def test_an_ended_batch_is_told_once_and_signed(
    database: Database, writer: Writer, signer: WebhookSigner, receiver: Receiver
) -> None:
    job = _failed_job(writer, receiver.url)
    assert _turns(database, writer, signer, count=2) == 1
    (received,) = receiver.received
    event = _verified(signer.secret("workspace"), received)
    assert event["type"] == "batch.failed"
    assert event["data"]["id"] == job.id
    assert (event["data"]["status"], event["data"]["error"]) == ("failed", {"message": "it was wrong"})
    assert "results" not in event["data"]
    assert received.headers["content-type"] == "application/json"
    assert _now(database, job).callback_due is None


def test_a_call_that_fails_is_made_again_later_by_whoever_lives(
    database: Database, writer: Writer, signer: WebhookSigner, receiver: Receiver
) -> None:
    receiver.statuses += [500, 302]
    job = _failed_job(writer, receiver.url)
    for tries, wait in ((1, WAITS[0]), (2, WAITS[1])):
        before = now()
        assert _turns(database, writer, signer, count=2) == 1
        found = _now(database, job)
        assert found.callback_tries == tries
        assert found.callback_due is not None
        assert before + wait * 1_000_000 <= found.callback_due <= now() + wait * 1_000_000
        writer.submit(called, Called(job.id, now())).result()
    assert _turns(database, writer, signer) == 1
    assert _now(database, job).callback_due is None
    assert len({(one.headers["webhook-id"], one.body) for one in receiver.received}) == 1
    assert len(receiver.received) == 3


def test_the_tenth_failure_and_a_receiver_that_wants_no_more_end_it(
    database: Database, writer: Writer, signer: WebhookSigner, receiver: Receiver
) -> None:
    def tried_nine_times(batch: Batch, ids: Sequence[str]) -> list[None]:
        batch.connection.execute(update(batches).where(batches.c.id.in_(ids)).values(callback_tries=9))
        return [None] * len(ids)

    receiver.statuses += [503, 410]
    last = _failed_job(writer, receiver.url)
    writer.submit(tried_nine_times, last.id).result()
    assert _turns(database, writer, signer) == 1
    gone = _failed_job(writer, receiver.url)
    assert _turns(database, writer, signer) == 1
    assert [_now(database, job).callback_due for job in (last, gone)] == [None, None]
    assert len(receiver.received) == 2


def test_a_private_receiver_is_not_called_unless_it_may_be(
    database: Database, writer: Writer, signer: WebhookSigner, receiver: Receiver
) -> None:
    job = _failed_job(writer, receiver.url)
    assert _turns(database, writer, signer, private=False) == 1
    assert receiver.received == []
    assert _now(database, job).callback_due is None


def test_while_keys_change_each_of_them_signs(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    old = WebhookSigner(sealer).secret("w")
    with sealer.rotating():
        signer = WebhookSigner(sealer)
        new = signer.secret("w")
        received = Received(dict(signer.headers("w", "msg_1", int(time.time()), b"{}")), b"{}")
    for secret in (old, new):
        _verified(secret, received)
    assert old != new
    assert old.startswith(PREFIX)
    assert WebhookSigner(sealer).secret("w") == new != WebhookSigner(sealer).secret("v")
