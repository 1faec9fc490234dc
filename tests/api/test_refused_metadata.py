"""`openrouter_metadata` beside an error: who could have served, and who was asked in vain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openrouter.components import OpenRouterMetadata

from server import MANAGER, MODEL, Answer, Server, serving
from upstream import Upstream

_OTHER = "test/other"
_WANTED = {"X-OpenRouter-Metadata": "enabled"}
_CATALOG = """
[[providers]]
slug = "failing"
wire = "openai"
base_url = "{url}"
allow_private = true
needs_credential = false

[[models]]
slug = "test/other"
context_length = 512
dimensions = 384

[[endpoints]]
model = "test/other"
provider = "failing"
upstream_model = "other"

[[providers]]
slug = "closed"
wire = "openai"
base_url = "{url}"
allow_private = true

[[models]]
slug = "test/closed"
context_length = 512
dimensions = 384

[[endpoints]]
model = "test/closed"
provider = "closed"
upstream_model = "closed"
"""


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Beside the built-in model it has one whose only provider answers 500."""
    folder: Path = tmp_path_factory.mktemp("near")
    with Upstream("500") as upstream:
        (folder / "catalog.toml").write_text(_CATALOG.format(url=upstream.url))
        with serving(folder, management_key=MANAGER, catalog=folder / "catalog.toml") as server:
            yield server


def _told(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer.body
    document = answer.json()
    assert list(document) == ["error", "openrouter_metadata"]
    OpenRouterMetadata.model_validate(document["openrouter_metadata"])
    found: dict[str, Any] = document["openrouter_metadata"]
    return found


def test_where_the_filters_leave_nobody_none_was_available(near: Server) -> None:
    told = _told(near.embed("a text", _WANTED, provider={"only": ["nobody"]}), 404)
    assert (told["requested"], told["strategy"], told["attempt"]) == (MODEL, "direct", 0)
    assert (told["summary"], told["region"]) == ("available=0, selected=none", None)
    assert told["endpoints"] == {"total": 1, "available": []}
    assert told["attempts"] == []


def test_where_all_failed_each_attempt_is_told(near: Server) -> None:
    told = _told(near.embed("a text", _WANTED, model=_OTHER), 502)
    assert [one["provider"] for one in told["attempts"]] == ["failing"] * told["attempt"]
    assert told["attempt"] >= 1
    assert {one["status"] for one in told["attempts"]} == {500}
    permaslug = told["attempts"][0]["model"]
    assert told["endpoints"] == {
        "total": 1,
        "available": [{"provider": "failing", "model": permaslug, "selected": False}],
    }


def test_where_no_credential_may_be_used_nobody_was_available_and_one_may_be_stored(near: Server) -> None:
    secret, key = near.new_key()
    credential = {"provider": "closed", "key": "of another", "allowed_api_key_hashes": [key["hash"]]}
    assert near.manage("POST", "/byok", credential).status == 201
    answer = near.embed("a text", _WANTED, model="test/closed")
    assert _told(answer, 404)["endpoints"] == {"total": 1, "available": []}
    error = answer.json()["error"]
    assert "POST /api/v1/byok" in error["message"]
    assert error["availability"]["excluded_by"] == ["credentials"]
    theirs = near.request("POST", "/api/v1/embeddings", {"model": "test/closed", "input": "a"}, _WANTED, key=secret)
    assert _told(theirs, 502)["attempts"], "who may use it asks"


def test_a_request_that_its_keys_limit_refuses_reached_nobody(near: Server) -> None:
    secret, _ = near.new_key(requests_per_minute=1)
    body = {"model": MODEL, "input": "a text"}
    headers = {**_WANTED, "Authorization": f"Bearer {secret}"}
    answers = [near.request("POST", "/api/v1/embeddings", body, headers) for _ in range(3)]
    told = _told(answers[-1], 429)
    assert told["endpoints"]["total"] == 1
    assert not any(one["selected"] for one in told["endpoints"]["available"])


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"provider": {"only": ["nobody"]}}, {}, 404),
        ({"model": "nobody/knows"}, _WANTED, 404),
        ({"dimensions": 1000}, _WANTED, 400),
        ({"input": ""}, _WANTED, 400),
    ],
)
def test_it_is_not_told_unasked_nor_of_what_was_not_routed(
    near: Server, fields: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    answer = near.post({"model": MODEL, "input": "a text", **fields}, headers)
    assert answer.status == status
    assert list(answer.json()) == ["error"]


def test_it_is_not_told_to_nobody(near: Server) -> None:
    answer = near.request("POST", "/api/v1/embeddings", {"model": MODEL, "input": "a"}, _WANTED, key="sk-er-v1-none")
    assert answer.status == 401
    assert list(answer.json()) == ["error"]
