"""Batches and files over plain HTTP: what is refused, who sees what, and how much memory it takes."""

import gzip
import json
import sqlite3
import time
from typing import Any

import numpy as np
import pytest

from server import KEY, MODEL, Answer, Server, decoded, eventually

_BATCHES = "/api/v1/batches"
_FILES = "/api/v1/files"
_MIB = 1 << 20


def _body(requests: Any, **fields: Any) -> dict[str, Any]:
    return {"endpoint": "/v1/embeddings", "model": MODEL, **fields, "requests": requests}


def _create(server: Server, body: Any, key: str = KEY, **headers: str) -> Answer:
    return server.request("POST", _BATCHES, body, headers, key=key)


def _upload(server: Server, content: bytes, fields: dict[str, str] | None = None, key: str = KEY) -> Answer:
    parts = [
        f'--cut\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
        for k, v in (fields or {}).items()
    ]
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    form = b"".join((*parts, head, content, b"\r\n--cut--\r\n"))
    return server.request("POST", _FILES, form, {"Content-Type": "multipart/form-data; boundary=cut"}, key=key)


def _listed(server: Server, key: str = KEY) -> list[str]:
    return [one["id"] for one in server.request("GET", f"{_BATCHES}?limit=100", key=key).json()["data"]]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"model": MODEL, "requests": [], "endpoint": "/v1/embeddings"}, "endpoint: is required, before requests"),
        ({"endpoint": "/v1/embeddings", "requests": [], "model": MODEL}, "model: is required, before requests"),
        (_body([]), "requests: must hold at least one"),
        (_body([], endpoint="/v1/responses"), "endpoint: must be /v1/embeddings"),
        (_body([], completion_window="1h"), "completion_window: must be 24h"),
        (_body([], provider={"order": ["a"]}), "provider"),
        (_body([], metadata={"a": 1}), "metadata"),
        (_body([], callback_url="http://example.org/x"), "callback_url: must begin with https://"),
        (_body([], callback_url="https://127.0.0.1/x"), "callback_url: the host 127.0.0.1 is not at a public"),
        (_body([], callback_url="https://169.254.169.254/x"), "callback_url: the host 169.254.169.254 is not"),
        (_body([], input_file_id="file-1"), "input_file_id: give this or requests"),
        ({"endpoint": "/v1/embeddings", "model": MODEL}, "requests: is required, or input_file_id"),
        ({"endpoint": "/v1/embeddings", "input_file_id": "file-1"}, "completion_window: is required"),
        ("[]", "expected object"),
        ("{", "not valid JSON"),
        (_body([{"custom_id": "a", "body": {"input": "x", "model": "no/other"}}]), 'custom_id "a"): body.model'),
        (_body([{"custom_id": "a", "body": {"input": "x", "input_type": "query"}}]), "body.input_type: cannot be set"),
        (_body([{"custom_id": "a", "body": {"input": "x", "provider": {}}}]), "body.provider: cannot be set"),
        (_body([{"custom_id": "a", "body": {"input": [{"content": [{"type": "text", "text": "x"}]}]}}]), "body.input"),
        (_body([{"custom_id": "a", "body": {"input": "x", "dimensions": 385}}]), "body.dimensions must be 1 to 384"),
        (_body([{"custom_id": "a", "body": {"input": text}} for text in "xy"]), "is there twice"),
        (_body([{"custom_id": "a", "body": "x"}]), 'custom_id "a"): body: expected object, got str'),
        ({**_body([{"custom_id": "a", "body": {"input": "x"}}]), "input_file_id": "file-1"}, "input_file_id: give"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_leaves_nothing(live: Server, body: Any, told: str) -> None:
    before = _listed(live)
    error = _create(live, body).error(400, "invalid_request")
    assert told in error["message"]
    assert _listed(live) == before


def test_an_unknown_model_or_file_is_not_found(live: Server) -> None:
    _create(live, _body([], model="no/such")).error(404, "not_found")
    for file in ("file-0123456789abcdef01234567", "file-\x00"):
        wanted = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_file_id": file}
        _create(live, wanted).error(404, "not_found")
    for path in ("/batches/batch_00", "/batches/x", "/files/file-0", "/files/file-output-0123456789abcdef01234567"):
        live.request("GET", f"/api/v1{path}", key=KEY).error(404, "not_found")


def test_a_late_mistake_leaves_nothing_of_what_came_before(live: Server) -> None:
    requests: list[Any] = [{"custom_id": str(number), "body": {"input": "x"}} for number in range(1500)]
    error = _create(live, _body([*requests, {"custom_id": "last", "body": {"input": []}}])).error(
        400, "invalid_request"
    )
    assert error["metadata"]["index"] == 1500
    assert error["metadata"]["custom_id"] == "last"
    with sqlite3.connect(live.data_dir / "embedrouter.db") as database:
        assert database.execute("select count(*) from batch_lines where custom_id = '1499'").fetchone() == (0,)


def test_gzip_other_bases_and_fields_after_the_requests(live: Server) -> None:
    body = {**_body([{"custom_id": "a", "body": {"input": "x", "user": "u"}}]), "metadata": {"late": "yes"}}
    made = _create(live, gzip.compress(json.dumps(body).encode()), **{"Content-Encoding": "gzip"})
    assert made.status == 202, made.body
    batch = made.json()
    assert batch["metadata"] == {"late": "yes"}
    for base in ("/v1", "/api/beta"):
        assert live.request("GET", f"{base}/batches/{batch['id']}", key=KEY).json()["id"] == batch["id"]
    assert "callback_secret" not in batch


def test_too_much_is_refused_before_it_is_read(live: Server, small: Server) -> None:
    head = (
        f"POST {_BATCHES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {2 << 30}\r\n\r\n"
    )
    live.raw(head.encode())[0].error(413, "payload_too_large")
    form = head.replace(_BATCHES, _FILES).replace("application/json", "multipart/form-data; boundary=cut")
    live.raw(form.encode())[0].error(413, "payload_too_large")
    large = {"custom_id": "a", "body": {"input": "x" * (_MIB + 1)}}
    told = _create(small, _body([large])).error(413, "payload_too_large")
    assert "requests[0] is larger than 1 MiB" in told["message"]


def test_a_forms_fields_may_follow_the_file(live: Server) -> None:
    def send(seconds: str) -> Answer:
        head, cut = b'--cut\r\nContent-Disposition: form-data; name="', b"\r\n--cut--\r\n"
        parts = [b'file"; filename="a"\r\n\r\nx\r\n', b'purpose"\r\n\r\nbatch\r\n']
        form = b"".join(head + part for part in (*parts, b'expires_after[seconds]"\r\n\r\n' + seconds.encode())) + cut
        return live.request("POST", _FILES, form, {"Content-Type": "multipart/form-data; boundary=cut"}, key=KEY)

    file = send("3600").json()
    assert file["expires_at"] == file["created_at"] + 3600
    assert live.request("GET", f"{_FILES}/{file['id']}", key=KEY).json() == file
    assert "expires_after.seconds" in send("1").error(400, "invalid_request")["message"]


def test_forms_that_are_none(live: Server) -> None:
    for body, kind in (
        (b"{}", "application/json"),
        (b"--cut--", "multipart/form-data; boundary=cut"),
        (b"x", "text/plain"),
    ):
        live.request("POST", _FILES, body, {"Content-Type": kind}, key=KEY).error(400, "invalid_request")
    told = _upload(live, b"x", {"purpose": "fine-tune"}).error(400, "invalid_request")
    assert "purpose: must be batch" in told["message"]
    told = _upload(live, b"x", {"expires_after[seconds]": "5"}).error(400, "invalid_request")
    assert "expires_after.seconds" in told["message"]
    told = _upload(live, b"x", {"expires_after[seconds]": "000360000" + "9" * 20}).error(400, "invalid_request")
    assert "expires_after.seconds" in told["message"]
    half = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\nhalf of it'
    live.request("POST", _FILES, half, {"Content-Type": "multipart/form-data; boundary=cut"}, key=KEY).error(
        400, "invalid_request"
    )
    names = [one["filename"] for one in live.request("GET", _FILES, key=KEY).json()["data"]]
    assert "half" not in names


def test_a_workspaces_batches_and_files_are_nobody_elses(managed: Server) -> None:
    space = managed.manage("POST", "/workspaces", {"name": "Others", "slug": f"others-{time.time_ns()}"}).json()["data"]
    other, _ = managed.new_key(workspace_id=space["id"])
    batch = _create(managed, _body([{"custom_id": "a", "body": {"input": "x"}}])).json()["id"]
    file = _upload(managed, b"{}").json()["id"]
    eventually(lambda: managed.request("GET", _BATCHES, key=other).status == 200)
    for method, path in (
        ("GET", f"/batches/{batch}"),
        ("POST", f"/batches/{batch}/cancel"),
        ("DELETE", f"/batches/{batch}"),
        ("GET", f"/batches?after={batch}"),
        ("GET", f"/files/{file}"),
        ("GET", f"/files/{file}/content"),
        ("DELETE", f"/files/{file}"),
        ("GET", f"/files?after={file}"),
    ):
        managed.request(method, f"/api/v1{path}", key=other).error(404, "not_found")
    wanted = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_file_id": file}
    _create(managed, wanted, other).error(404, "not_found")
    assert _listed(managed, other) == []
    assert managed.request("GET", _FILES, key=other).json()["data"] == []
    secrets = {managed.request("GET", f"{_BATCHES}/callback_secret", key=key).json()["secret"] for key in (KEY, other)}
    assert len(secrets) == 2
    assert all(secret.startswith("whsec_") for secret in secrets)


def test_lists_are_paged_and_filtered(live: Server) -> None:
    made = [_create(live, _body([{"custom_id": "a", "body": {"input": "x"}}])).json()["id"] for _ in range(3)]
    first = live.request("GET", f"{_BATCHES}?limit=2", key=KEY).json()
    second = live.request("GET", f"{_BATCHES}?limit=2&after={first['last_id']}", key=KEY).json()
    found = [one["id"] for page in (first, second) for one in page["data"]]
    assert found[:3] == made[::-1]
    assert first["has_more"]
    assert live.request("GET", f"{_BATCHES}?status=expired&status=failed&created_after=2999-01-01", key=KEY).json() == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False
    }  # fmt: skip
    for query in ("limit=0", "limit=101", "status=done", "created_after=soon", "after=%00"):
        assert live.request("GET", f"{_BATCHES}?{query}", key=KEY).status in (400, 404)


def test_only_what_has_ended_is_deleted(live: Server) -> None:
    texts = [f"{number} " + "word " * 900 for number in range(64)]
    batch = _create(live, _body([{"custom_id": str(n), "body": {"input": [text] * 8}} for n, text in enumerate(texts)]))
    path = f"{_BATCHES}/{batch.json()['id']}"
    told = live.request("DELETE", path, key=KEY).error(409, "conflict")
    assert "cancel it first" in told["message"]
    assert live.request("POST", f"{path}/cancel", key=KEY).json()["status"] in ("cancelling", "cancelled")
    eventually(lambda: live.request("GET", path, key=KEY).json()["status"] == "cancelled")
    ended = live.request("GET", path, key=KEY).json()
    assert [one["custom_id"] for one in ended["results"]] == [str(number) for number in range(64)]
    assert {one["error"]["type"] for one in ended["results"] if one["response"] is None} <= {
        "batch_cancelled",
        "cancelled",
    }
    assert live.request("DELETE", path, key=KEY).status == 200
    live.request("GET", path, key=KEY).error(404, "not_found")


def test_a_large_body_does_not_lie_in_memory(live: Server) -> None:
    """48 MB of requests, the last of which is wrong: all of them came in, and none stays."""
    requests: list[Any] = [{"custom_id": str(number), "body": {"input": "word " * 4800}} for number in range(2000)]
    body = json.dumps(_body([*requests, {"custom_id": "x", "body": {"input": 7}}]))
    _create(live, _body([{"custom_id": "x", "body": {"input": 7}}]))
    held = live.forget_peak()
    _create(live, body).error(400, "invalid_request")
    assert live.peak_mib() - held < 36


def test_large_results_do_not_lie_in_memory(live: Server) -> None:
    """60 MB of JSON, made from lines that are put into a batch that has ended."""
    made = _create(live, _body([{"custom_id": "first", "body": {"input": "x"}}])).json()["id"]
    path = f"{_BATCHES}/{made}"
    eventually(lambda: live.request("GET", path, key=KEY).json()["status"] == "completed")
    vectors = np.random.default_rng(0).standard_normal((8, 384)).astype("<f4")
    rows = [(made, n, f"line-{n}", b"", "done", 200, "gen-none", 8, vectors.tobytes(), 384) for n in range(1, 1800)]
    with sqlite3.connect(live.data_dir / "embedrouter.db", timeout=20) as database:
        database.executemany(
            "insert into batch_lines (batch_id, number, custom_id, body, status, status_code, generation_id, tokens, "
            "vectors, dimensions) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    held = live.forget_peak()
    answer = live.request("GET", path, key=KEY)
    assert len(answer.body) > 50_000_000
    assert live.peak_mib() - held < 36
    last = answer.json()["results"][-1]
    assert last["custom_id"] == "line-1799"
    assert np.array_equal([decoded(row["embedding"]) for row in last["response"]["body"]["data"]], vectors)
    assert live.request("DELETE", path, key=KEY).status == 200
