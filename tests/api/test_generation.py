"""GET /generation: there as soon as its request is answered, with all that both clients need. On both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server import EMBEDDINGS, KEY, MANAGER, MODEL, Answer, Server, serving

_FIELDS = {
    "id", "api_type", "app_id", "cache_discount", "cancelled", "created_at", "data_region", "external_user",
    "finish_reason", "generation_time", "http_referer", "is_byok", "latency", "model", "moderation_latency",
    "native_finish_reason", "native_tokens_cached", "native_tokens_completion", "native_tokens_completion_images",
    "native_tokens_prompt", "native_tokens_reasoning", "num_fetches", "num_input_audio_prompt", "num_media_completion",
    "num_media_prompt", "num_search_results", "origin", "preset_id", "provider_name", "provider_responses",
    "request_id", "router", "service_tier", "session_id", "streamed", "tokens_completion", "tokens_prompt",
    "total_cost", "upstream_id", "upstream_inference_cost", "usage", "user_agent", "web_search_engine", "workspace_id",
    "response_cache_source_id",
}  # fmt: skip


def _get(server: Server, generation: str, key: str = KEY, path: str = "/generation") -> Answer:
    return server.request("GET", f"/api/v1{path}?id={generation}", key=key)


def test_it_is_there_as_soon_as_the_request_is_answered(kept: Server) -> None:
    for _ in range(20):
        answer = kept.embed("hello")
        found = _get(kept, answer.headers["x-generation-id"])
        assert found.json()["data"]["id"] == answer.json()["id"]


def test_it_tells_what_the_request_was(kept: Server) -> None:
    headers = {"User-Agent": "a test/1", "X-Request-ID": "request-7", "HTTP-Referer": "https://example.com"}
    answer = kept.embed(["hello", "hello world"], headers, user="customer-7", session_id="s\0ession")
    data = _get(kept, answer.json()["id"]).json()["data"]
    assert set(data) == _FIELDS
    assert (data["api_type"], data["data_region"]) == ("embeddings", "global")
    assert data["model"] == f"{MODEL}-20251117"
    assert data["tokens_prompt"] == data["native_tokens_prompt"] == answer.tokens() == 7
    assert data["usage"] == data["total_cost"] == answer.json()["usage"]["cost"] == 3.5e-8
    assert (data["user_agent"], data["request_id"], data["external_user"]) == ("a test/1", "request-7", "customer-7")
    assert data["session_id"] == "session", "PostgreSQL keeps no NUL"
    assert data["http_referer"] == "https://example.com"
    assert data["origin"] is not None
    assert not data["cancelled"]
    assert 0 < data["generation_time"] <= data["latency"] < 60_000
    assert abs(datetime.fromisoformat(data["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    (attempt,) = data["provider_responses"]
    assert attempt["latency"] == data["generation_time"]
    assert {name: attempt[name] for name in ("provider_name", "status", "model_permaslug", "is_byok")} == {
        "provider_name": "Builtin", "status": 200, "model_permaslug": data["model"], "is_byok": False,
    }  # fmt: skip


def test_what_was_refused_before_any_provider_leaves_none(kept: Server) -> None:
    refused = kept.embed([""])
    assert refused.status == 400
    _get(kept, refused.headers["x-generation-id"]).error(404, "not_found")


def test_the_input_is_not_kept_unless_that_is_switched_on(kept: Server) -> None:
    generation = kept.embed("a private text").json()["id"]
    told = _get(kept, generation, path="/generation/content").error(404, "not_found")
    assert "EMBEDROUTER_STORE_PROMPTS=true" in told["message"]


@pytest.mark.parametrize("path", ["/generation", "/generation/content"])
@pytest.mark.parametrize("query", ["", "?id=", "?id=" + "x" * 65, "?id=" + "x" * 5000])
def test_a_missing_empty_or_long_id_is_refused(kept: Server, path: str, query: str) -> None:
    told = kept.request("GET", f"/api/v1{path}{query}", key=KEY).error(400, "invalid_request")
    assert "id" in told["message"]


@pytest.mark.parametrize("path", ["/generation", "/generation/content"])
@pytest.mark.parametrize("generation", ["gen-1", "x" * 64, "%00", "%F0%9F%8D%89", "a%20b", "%ff"])
def test_an_unknown_id_is_not_found(kept: Server, path: str, generation: str) -> None:
    _get(kept, generation, path=path).error(404, "not_found")


@pytest.fixture(scope="module")
def storing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("storing")
    with serving(folder, management_key=MANAGER, store_prompts="true") as server:
        yield server


@pytest.mark.parametrize(
    ("given", "prompt", "inputs"),
    [
        ("a text", "a text", ["a text"]),
        ('["looks like a list"]', '["looks like a list"]', ['["looks like a list"]']),
        (["one", "zwei ü\0"], '["one","zwei ü\\u0000"]', ["one", "zwei ü\0"]),
        ([{"content": [{"type": "text", "text": "part"}]}], "part", ["part"]),
    ],
)
def test_what_is_kept_is_what_was_embedded(storing: Server, given: Any, prompt: str, inputs: list[str]) -> None:
    generation = storing.embed(given).json()["id"]
    for key in (KEY, MANAGER):
        data = _get(storing, generation, key, "/generation/content").json()["data"]
        assert data == {
            "input": {"prompt": prompt, "inputs": inputs},
            "output": {"completion": None, "reasoning": None},
            "error": None,
        }


def test_model_tokens_are_kept_as_they_came(storing: Server) -> None:
    generation = storing.embed([[7592], [7592, 2088]], {"X-Token-Encoding": "model"}).json()["id"]
    kept = _get(storing, generation, path="/generation/content").json()["data"]["input"]
    assert kept == {"prompt": "[[7592],[7592,2088]]", "inputs": [[7592], [7592, 2088]]}


def test_what_is_kept_is_nobody_elses(storing: Server) -> None:
    other, _ = storing.new_key()
    generation = storing.embed("a secret of the key").json()["id"]
    answer = storing.request("GET", f"/api/v1/generation/content?id={generation}", key=other)
    answer.error(404, "not_found")
    assert "secret" not in answer.body.decode()
    assert storing.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x"}, key=other).status == 200
