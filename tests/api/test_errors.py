"""Every failure is one envelope, whose code is the HTTP status."""

import json
from collections.abc import Callable

import pytest

from server import EMBEDDINGS, KEY, MODEL, Answer, Server, eventually

_BODY = {"model": MODEL, "input": "hello"}
_CASES: dict[str, tuple[int, str, Callable[[Server], Answer]]] = {
    "bad JSON": (400, "invalid_request", lambda server: server.post(b"{")),
    "bad field": (400, "invalid_request", lambda server: server.embed("a", dimensions=0)),
    "empty input": (400, "invalid_request", lambda server: server.embed("")),
    "too long": (400, "context_length_exceeded", lambda server: server.embed("a " * 300, truncate=False)),
    "no key": (401, "authentication", lambda server: server.request("POST", EMBEDDINGS, _BODY)),
    "wrong key": (401, "authentication", lambda server: server.request("POST", EMBEDDINGS, _BODY, key="wrong")),
    "unknown model": (404, "not_found", lambda server: server.embed("a", model="nope")),
    "no endpoint left": (404, "not_found", lambda server: server.embed("a", provider={"only": ["x"]})),
    "too large": (413, "payload_too_large", lambda server: server.raw(server.head("Content-Length: 99999999"))[0]),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_failed_embedding_is_an_envelope_with_a_generation_id(live: Server, case: str) -> None:
    status, error_type, fail = _CASES[case]
    answer = fail(live)
    answer.error(status, error_type)
    assert answer.headers["x-generation-id"].startswith("gen-")


@pytest.mark.parametrize("case", _CASES)
def test_a_failure_is_counted_once(live: Server, case: str) -> None:
    status, error_type, fail = _CASES[case]
    before = live.metrics()
    fail(live)
    after = live.metrics()
    grown = {name for name in after if after[name] != before[name] and "_created" not in name}
    assert {name for name in grown if name.startswith("embedrouter_requests_total")} == {
        f'embedrouter_requests_total{{status="{status}"}}'
    }
    assert {name for name in grown if name.startswith("embedrouter_rejects_total")} == {
        f'embedrouter_rejects_total{{reason="{error_type}"}}'
    }
    assert after["embedrouter_prompt_tokens_total"] == before["embedrouter_prompt_tokens_total"]
    eventually(lambda: live.metrics()["embedrouter_requests_in_flight"] == 0)


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/api/v1",
        "/api/v1/nope",
        "/api/v1/model/only-an-author",
        "/api/v1/models/a/b/c/d",
        "/%00",
        "/" + "x" * 2000,
    ],
)
def test_an_unknown_path_is_not_found(live: Server, path: str) -> None:
    live.get(path).error(404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/model/x/y", "/api/v1/models/x/y/endpoints", "/v1/model/%00/%ff"])
def test_an_unknown_model_in_a_path_is_not_found(live: Server, path: str) -> None:
    assert live.get(path).error(404, "not_found")["availability"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", EMBEDDINGS),
        ("PUT", EMBEDDINGS),
        ("DELETE", EMBEDDINGS),
        ("PATCH", "/v1/embeddings"),
        ("POST", "/api/v1/models"),
        ("POST", "/health"),
        ("DELETE", "/metrics"),
        ("TRACE", "/ready"),
        ("BREW", EMBEDDINGS),
    ],
)
def test_a_wrong_method_is_refused_with_the_right_ones(live: Server, method: str, path: str) -> None:
    answer = live.request(method, path, key=KEY)
    answer.error(405, "invalid_request")
    assert ("POST" in answer.headers["allow"]) == path.endswith("embeddings")


@pytest.mark.parametrize("query", ["limit=x", "offset=1.5", "sort=bogus", "zdr=maybe", "min_price=cheap"])
def test_a_wrong_query_parameter_is_refused_by_name(live: Server, query: str) -> None:
    refused = live.get(f"/api/v1/models?{query}").error(400, "invalid_request")
    assert query.partition("=")[0] in refused["message"]


def test_what_a_caller_sent_is_repeated_short_and_as_json(live: Server) -> None:
    answer = live.embed("a", model='"\n<script>' + "x" * 100_000)
    assert len(answer.body) < 2000
    assert "<script>" in json.loads(answer.body)["error"]["message"]
