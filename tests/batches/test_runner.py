"""Batches worked off by real servers: every line once, whatever happens to the process."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from batches.jobs import cancel, every_job, job_now, let_leases_run_out, lines_of, make_job
from embedrouter.batches.job import Job
from embedrouter.batches.lines import Line
from embedrouter.batches.objects import batch_object
from embedrouter.batches.runner import JOBS
from embedrouter.batches.shift import AGENT
from embedrouter.store.tables import generations
from fault.bank import POOR_KEY, Bank
from server import KEY, MODEL, PICO_PER_TOKEN, Server, eventually, sentences, serving
from upstream import Upstream

_SLOW_KEY = "sk-er-v1-" + "510a" * 16
_CATALOG = """
[[providers]]
slug = "remote"
wire = "openai"
base_url = "{url}"
allow_private = true
needs_credential = false

[[models]]
slug = "test/remote"
dimensions = 384
context_length = 8192

[[endpoints]]
model = "test/remote"
provider = "remote"
upstream_model = "remote"
price_per_million = "1"
"""
_HALF = PICO_PER_TOKEN // 2
_POOR = 40 * _HALF + 1  # tokens; no multiple of a price


def _vectors(line: Line) -> np.ndarray:
    assert line.vectors is not None
    return np.frombuffer(line.vectors, "<f4").reshape(-1, line.dimensions or 0)


def _ended(bank: Bank, job: Job) -> Job:
    eventually(lambda: job_now(bank.database, job).ended)
    return job_now(bank.database, job)


def _audit(bank: Bank, *jobs: Job) -> None:
    """Each line done has one generation, each of a batch's generations is a line's, and the books agree with both."""
    eventually(lambda: bank.holds() == 0)
    done = [line for job in jobs for line in lines_of(bank.database, job) if line.status == "done"]
    told = {line.generation_id or "": (line.tokens or 0) * _HALF for line in done}
    assert len(told) == len(done)
    made = select(generations.c.id).where(generations.c.user_agent == AGENT, generations.c.status == 200)
    assert set(bank.database.read_now(lambda connection: connection.execute(made).scalars().all())) == set(told)
    assert sum(job_now(bank.database, job).cost_pico for job in jobs) == sum(told.values())
    bank.audit(told, poor_limit=_POOR)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bank, Server]]:
    folder = tmp_path_factory.mktemp("batches")
    bank = Bank(f"sqlite:///{folder / 'embedrouter.db'}")
    bank.endow(poor_limit=_POOR)
    with serving(folder / "server", database_url=bank.url, billing="enforce") as server:
        yield bank, server
    bank.close()


def test_lines_become_what_the_same_requests_become_at_half_price(house: tuple[Bank, Server]) -> None:
    bank, server = house
    long = " ".join(sentences(1, 700))
    bodies: list[dict[str, object]] = [
        {"input": "hello"},
        {"input": ["one", "two", long], "encoding_format": "base64", "user": "somebody", "session_id": "a\x00 session"},
        {"input": [9906, 1917]},  # cl100k
        {"input": ""},
        {"encoding_format": "float"},
        {"input": "hello", "dimensions": 999},
        {"input": long, "truncate": "none"},
        {"input": 7},
        {"input": sentences(300, 40)},  # a body that is decoded beside the event loop
    ]
    job = make_job(bank.database, bodies)
    ended = _ended(bank, job)
    found = lines_of(bank.database, job)
    assert [line.status_code for line in found] == [200, 200, 200, 400, 400, 400, 400, 400, 200]
    assert (ended.status, ended.completed, ended.failed) == ("completed", 4, 5)
    assert '"metadata":{"error_type":"context_length_exceeded"' in (found[6].error_json or "")
    assert {line.body for line in found} == {b""}
    assert [line.encoding_format for line in found[:3]] == ["float", "base64", "float"]
    _audit(bank, *every_job(bank.database))
    assert ended.cost_pico == ended.prompt_tokens * _HALF
    for line in (found[0], found[1], found[2], found[8]):
        answer = server.post({"model": MODEL, **bodies[line.number]})
        assert np.array_equal(answer.vectors(), _vectors(line))
        assert answer.tokens() == line.tokens
    told = server.request("GET", f"/api/v1/generation?id={found[1].generation_id}", key=KEY).json()["data"]
    assert told["request_id"] == f"{job.id}-1" == found[1].request_id
    assert (told["user_agent"], told["external_user"], told["session_id"]) == (AGENT, "somebody", "a session")
    assert server.metrics()['embedrouter_batch_lines_total{outcome="failed"}'] == 5


def test_limits_of_the_key_are_limits_of_its_batches(house: tuple[Bank, Server]) -> None:
    bank, server = house
    job = make_job(bank.database, [{"input": f"text {number}"} for number in range(30)], key=POOR_KEY)
    ended = _ended(bank, job)
    assert ended.status == "completed"
    assert {line.status_code for line in lines_of(bank.database, job)} == {200, 402}
    assert _POOR - 10 * _HALF < ended.cost_pico <= _POOR

    # What is stopped on the way keeps what was done.
    first = make_job(bank.database, [{"input": text} for text in sentences(3_000, 8)])
    second = make_job(bank.database, [{"input": text} for text in sentences(3_000, 8, 1)])
    eventually(lambda: min(job_now(bank.database, one).completed for one in (first, second)) > 0)
    cancel(bank.database, first)
    assert _ended(bank, first).status == "cancelled"
    bank.disable(KEY)
    unusable = _ended(bank, second)
    assert unusable.status == "failed"
    assert unusable.problem is not None
    assert "disabled" in unusable.problem.message
    for one, code in ((first, "batch_cancelled"), (second, "key_unusable")):
        now = job_now(bank.database, one)
        assert 0 < now.completed < now.total == now.completed + now.failed
        rest = {line.error_json or "" for line in lines_of(bank.database, one) if line.status == "failed"}
        assert len(rest) == 1
        assert f'"code":"{code}"' in rest.pop()
    bank.disable(KEY, disabled=False)
    _audit(bank, *every_job(bank.database))
    eventually(lambda: server.request("GET", f"/api/v1/batches/{second.id}", key=KEY).status == 200)
    results = server.request("GET", f"/api/v1/batches/{second.id}", key=KEY).json()["results"]
    assert sum(one["response"] is not None for one in results) == unusable.completed
    assert {one["error"]["type"] for one in results if one["error"] is not None} == {"key_unusable"}
    told = batch_object(msgspec.structs.replace(unusable, form="openai"))
    assert told.output_file_id is not None
    assert told.error_file_id is not None


def test_batches_that_wait_for_their_keys_rate_keep_no_others_waiting(house: tuple[Bank, Server]) -> None:
    bank, _ = house
    bank.add_key(_SLOW_KEY, requests_per_minute=1)
    slow = [make_job(bank.database, [{"input": "a"}, {"input": "b"}], key=_SLOW_KEY) for _ in range(JOBS + 1)]
    eventually(lambda: sum(job_now(bank.database, job).completed for job in slow) > 0)
    other = make_job(bank.database, [{"input": "c"}])
    assert _ended(bank, other).status == "completed"
    assert not any(job_now(bank.database, job).ended for job in slow)
    for job in slow:
        cancel(bank.database, job)
    assert {_ended(bank, job).status for job in slow} == {"cancelled"}


def test_what_is_held_for_a_line_is_its_half_price(tmp_path: Path) -> None:
    bank = Bank(f"sqlite:///{tmp_path / 'embedrouter.db'}")
    bank.endow(poor_limit=4 * _HALF)
    with serving(tmp_path / "server", database_url=bank.url, durability="async"):  # so that each is held first
        job = make_job(bank.database, [{"input": "hello"}], key=POOR_KEY)
        ended = _ended(bank, job)
    assert (ended.completed, ended.cost_pico) == (1, 3 * _HALF)
    bank.close()


def test_a_small_batch_outlives_an_outage_of_its_provider_and_a_line_that_always_fails_does_not(tmp_path: Path) -> None:
    with Upstream() as upstream:
        catalog = tmp_path / "catalog.toml"
        catalog.write_text(_CATALOG.format(url=upstream.url))
        bank = Bank(f"sqlite:///{tmp_path / 'embedrouter.db'}")
        bank.endow()
        asked: list[float] = []

        def away(_: int) -> str:
            asked.append(time.monotonic())
            return "ok" if asked[-1] > asked[0] + 8 else "500"  # by then, five tries are over

        upstream.policy = away
        with serving(tmp_path / "server", database_url=bank.url, catalog=catalog):
            small = make_job(bank.database, [{"input": "a"}, {"input": "b"}], model="test/remote")
            ended = _ended(bank, small)
            assert (ended.status, ended.completed, ended.failed) == ("completed", 2, 0)
            upstream.policy = lambda n: "500" if "poison" in str(upstream.seen[n].asked) else "slow:0.05"
            bodies = [{"input": "poison" if n == 3 else f"text {n}"} for n in range(2000)]
            large = make_job(bank.database, bodies, model="test/remote")
            eventually(lambda: lines_of(bank.database, large)[3].status == "failed", 60)
            assert lines_of(bank.database, large)[3].status_code == 502
        bank.close()


def test_a_batch_goes_on_where_a_killed_process_left_it(bank: Bank, tmp_path: Path) -> None:
    job = make_job(bank.database, [{"input": text} for text in sentences(400, 8)])
    with serving(tmp_path / "server", database_url=bank.url, billing="enforce") as server:
        wanted = random.Random(7).randint(1, 150)
        eventually(lambda: job_now(bank.database, job).completed >= wanted)
        server.process.kill()
        server.process.wait()
    let_leases_run_out(bank.database)
    bank.age_instances(10_000_000)
    between = job_now(bank.database, job)
    assert 0 < between.completed < between.total
    assert sum(bank.costs().values()) == between.cost_pico  # nothing is billed whose result is not there
    assert bank.findings() == []
    with serving(tmp_path / "server", database_url=bank.url, billing="enforce"):
        ended = _ended(bank, job)
        _audit(bank, job)
    assert (ended.status, ended.completed, ended.failed) == ("completed", 400, 0)


def _shared_out(bank: Bank) -> list[Job]:
    """Jobs, one after the other, until two processes work at the same time: either may take the next one."""
    jobs: list[Job] = []
    for seed in range(50):
        jobs.append(make_job(bank.database, [{"input": text} for text in sentences(800, 8, seed)]))
        eventually(lambda: job_now(bank.database, jobs[-1]).completed > 0)
        if len({job_now(bank.database, job).lease_owner for job in jobs} - {None}) == 2:
            return jobs
    raise AssertionError("one process has taken all jobs")


def test_two_gateways_share_jobs_and_one_takes_over_from_the_other(postgres_url: str, tmp_path: Path) -> None:
    bank = Bank(postgres_url)
    bank.endow()
    with (
        serving(tmp_path / "a", database_url=bank.url, billing="enforce") as one,
        serving(tmp_path / "b", database_url=bank.url, billing="enforce"),
    ):
        jobs = _shared_out(bank)
        one.process.kill()
        one.process.wait()
        let_leases_run_out(bank.database)
        assert {_ended(bank, job).completed for job in jobs} == {800}
        _audit(bank, *jobs)
    bank.close()
