"""The server under change and strain: starting, draining, departing clients, a full queue, a timeout."""

import contextlib
import http.client
import json
import re
import signal
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from server import (
    EMBEDDINGS,
    KEY,
    MODEL,
    PATIENCE,
    Answer,
    Server,
    cli,
    cosine,
    eventually,
    free_port,
    sentences,
    serving,
)

_BULK = 2048


def _bulk(seed: int, words: int = 10) -> bytes:
    body = {"model": MODEL, "input": sentences(_BULK, words, seed), "encoding_format": "base64"}
    return json.dumps(body).encode()


@contextlib.contextmanager
def _in_flight(server: Server, body: bytes) -> Iterator[Future[Answer]]:
    """A large request of which a part is computed and a part still waits."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(server.post, body)
        eventually(lambda: server.queued_tokens() > 0)
        yield future


# --- the key


def test_a_made_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    with serving(tmp_path, key=None) as server:
        (key,) = set(re.findall(r"sk-er-v1-[0-9a-f]{64}", server.output()))
        server.key = key
        assert server.embed("hello").status == 200
        files = list(server.data_dir.glob("embedrouter.db*"))
        assert files
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert server.stop() == 0
    for path in server.data_dir.rglob("*"):
        assert path.is_dir() or key[9:].encode() not in path.read_bytes(), path

    with serving(tmp_path, key=None) as again:
        again.key = key
        assert key not in again.output()
        assert f"{key[:12]}...{key[-3:]}" in again.output()
        assert again.embed("hello").status == 200

    with serving(tmp_path, "--new-key", key=None) as renewed:
        (new,) = set(re.findall(r"sk-er-v1-[0-9a-f]{64}", renewed.output()))
        assert new != key
        renewed.key = key
        renewed.embed("hello").error(401, "authentication")
        renewed.key = new
        assert renewed.embed("hello").status == 200


# --- refusing to start


def test_a_port_in_use_stops_the_start_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli("serve", "--port", port, "--data-dir", tmp_path, api_key=KEY)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for word in (str(port), "127.0.0.1", "in use", "--port"):
        assert word in done.stderr


def test_an_address_that_is_not_ours_stops_the_start(tmp_path: Path) -> None:
    done = cli("serve", "--host", "192.0.2.1", "--port", free_port(), "--data-dir", tmp_path, api_key=KEY)
    assert done.returncode == 2
    assert "192.0.2.1" in done.stderr


def test_a_data_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("serve", "--port", free_port(), "--data-dir", tmp_path / "file" / "data")
    assert done.returncode == 2
    assert "--data-dir" in done.stderr


# --- an operator's aliases


def test_an_alias_of_the_configuration_serves_and_is_not_listed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[model_aliases]\n"openai/text-embedding-3-small" = "{MODEL}"\n')
    with serving(tmp_path / "server", "--config", str(config)) as server:
        assert server.embed("hello", model="OpenAI/text-embedding-3-small").json()["model"] == MODEL
        assert server.get("/api/v1/model/openai/text-embedding-3-small").json()["data"]["id"] == MODEL
        assert server.get("/api/v1/models").json()["total_count"] == 1


# --- stopping


def test_sigterm_answers_what_was_accepted_and_takes_nothing_new(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        kept.request("GET", "/health")
        kept.getresponse().read()
        with _in_flight(server, _bulk(seed=2)) as future:
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: "stopping" in server.output())
            assert not future.done(), "the request was too small to be in flight"
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = server.embed("hello")
                answer.error(503, "provider_overloaded")
                assert int(answer.headers["retry-after"]) >= 1
            with contextlib.suppress(OSError, http.client.HTTPException):
                headers = {"Authorization": f"Bearer {KEY}"}
                kept.request("POST", EMBEDDINGS, json.dumps({"model": MODEL, "input": "hello"}), headers)
                assert kept.getresponse().status == 503
            assert future.result(PATIENCE).vectors().shape == (_BULK, 384)
        assert server.process.wait(PATIENCE) == 0
        assert "Traceback" not in server.output()
        with pytest.raises(OSError, match="refused"):
            server.get("/health")


def test_an_idle_server_stops_at_once_also_with_open_connections(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect(), server.connect() as kept:
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0


def test_what_takes_longer_than_the_drain_is_cut_off_and_told(tmp_path: Path) -> None:
    with serving(tmp_path, drain_s=0.1, threads=1) as server:
        with contextlib.suppress(OSError, http.client.HTTPException), _in_flight(server, _bulk(seed=3, words=40)):
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 1
        assert "cut off" in server.output()
        assert "Traceback" not in server.output()


# --- departing clients


def test_a_client_that_leaves_frees_the_queue_and_others_are_served(live: Server) -> None:
    before = live.metrics()
    body = _bulk(seed=4, words=100)
    with live.connect() as connection:
        connection.sendall(live.head(f"Content-Length: {len(body)}") + body)
        eventually(lambda: live.queued_tokens() > 0)
    eventually(lambda: live.embed("another client").status == 200)
    eventually(lambda: live.queued_tokens() == 0)
    eventually(lambda: live.metrics()["embedrouter_requests_in_flight"] == 0)
    after = live.metrics()
    computed = after["embedrouter_batch_tokens_sum"] - before["embedrouter_batch_tokens_sum"]
    assert computed < 100 * _BULK / 2, "the abandoned request was computed all the same"
    for series in ('embedrouter_requests_total{status="499"}', 'embedrouter_rejects_total{reason="client_closed"}'):
        assert after[series] == before[series] + 1
    assert after["embedrouter_prompt_tokens_total"] == before["embedrouter_prompt_tokens_total"] + 4


def test_a_client_that_leaves_amid_its_body_is_forgotten(live: Server) -> None:
    series = 'embedrouter_requests_total{status="499"}'
    before = live.metrics()[series]
    with live.connect() as connection:
        connection.sendall(live.head("Content-Length: 1000") + b'{"model"')
    eventually(lambda: live.metrics()[series] == before + 1)
    eventually(lambda: live.metrics()["embedrouter_requests_in_flight"] == 0)


# --- strain


def test_a_full_queue_refuses_with_when_to_come_back_and_recovers(small: Server) -> None:
    def ask(seed: int) -> Answer:
        return small.embed(sentences(64, 50, seed), encoding_format="base64")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(32)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 503}
    for answer in answers:
        if answer.status == 200:
            assert answer.vectors().shape == (64, 384)
        else:
            refused = answer.error(503, "provider_overloaded")
            assert re.fullmatch(r"[1-9]\d*", answer.headers["retry-after"])
            assert answer.headers["retry-after"] in refused["message"]
    eventually(lambda: small.queued_tokens() == 0)
    assert ask(99).status == 200
    assert small.get("/ready").status == 200


def test_one_request_larger_than_the_queue_is_served_when_nothing_waits(small: Server) -> None:
    eventually(lambda: small.queued_tokens() == 0)
    answer = small.embed(sentences(600, 20, seed=5), encoding_format="base64")
    assert answer.tokens() > 8192
    assert answer.vectors().shape == (600, 384)


def test_many_clients_at_once_all_get_their_own_vectors(live: Server) -> None:
    texts = sentences(64, 6, seed=6)
    together = live.embed(texts).vectors()
    with ThreadPoolExecutor(32) as pool:
        alone = [answer.vectors()[0] for answer in pool.map(live.embed, texts)]
    assert cosine(np.array(alone), together) > 0.9999
    np.fill_diagonal(others := together @ np.array(alone).T, 0)
    assert others.max() < 0.9999


def test_a_request_that_takes_too_long_is_a_timeout_and_the_next_is_served(tmp_path: Path) -> None:
    with serving(tmp_path, request_timeout_s=0.3, threads=1) as server:
        failed = server.post(_bulk(seed=7, words=40))
        assert "0.3 s" in failed.error(504, "timeout")["message"]
        eventually(lambda: server.queued_tokens() == 0)
        assert server.embed("hello").status == 200
        assert server.metrics()['embedrouter_requests_total{status="504"}'] == 1


def test_idle_connections_do_not_keep_others_out(live: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(live.connect())
        assert live.embed("hello").status == 200


def test_small_requests_overtake_a_large_one(live: Server) -> None:
    with _in_flight(live, _bulk(seed=8)) as future:
        assert live.embed("a single question").status == 200
        assert not future.done(), "the large request was too small for this test"
        assert future.result(PATIENCE).status == 200


def test_threads_and_descriptors_do_not_grow_with_requests(live: Server) -> None:
    def held() -> int:
        process = Path("/proc", str(live.process.pid))
        return sum(1 for kind in ("fd", "task") for _ in (process / kind).iterdir())

    def settle() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: live.embed(f"text {n}"), range(40)))
        eventually(lambda: live.metrics()["embedrouter_requests_in_flight"] == 0)

    settle()
    before = held()
    for _ in range(3):
        settle()
    eventually(lambda: held() <= before + 8)
