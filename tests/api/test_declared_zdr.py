"""What a credential declares of the account behind it, against what requests and guardrails ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import MANAGER, MODEL, Server, serving
from upstream import Upstream

_CATALOG = """
[[providers]]
slug = "keeping"
wire = "openai"
base_url = "{url}"
allow_private = true
credential_env = "KEEPING_TEST_CREDENTIAL"

[[providers]]
slug = "forgetting"
wire = "openai"
base_url = "{url}"
allow_private = true
credential_env = "FORGETTING_TEST_CREDENTIAL"

[[models]]
slug = "test/kept"
context_length = 512
dimensions = 384

[[models]]
slug = "test/forgotten"
context_length = 512
dimensions = 384

[[endpoints]]
model = "test/kept"
provider = "keeping"
upstream_model = "kept"
trains_on_prompts = true

[[endpoints]]
model = "test/forgotten"
provider = "forgetting"
upstream_model = "forgotten"
retains_prompts = false
trains_on_prompts = false
"""
_ZDR = {"zdr": True}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as started:
        yield started


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Server]:
    """Both providers have a credential of the environment; it declares nothing."""
    folder: Path = tmp_path_factory.mktemp("near")
    (folder / "catalog.toml").write_text(_CATALOG.format(url=upstream.url))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEEPING_TEST_CREDENTIAL", "of-the-environment")
        patch.setenv("FORGETTING_TEST_CREDENTIAL", "of-the-environment")
        with serving(folder, management_key=MANAGER, catalog=folder / "catalog.toml") as server:
            yield server


@pytest.fixture(autouse=True)
def _none_left(near: Server, upstream: Upstream) -> Iterator[None]:
    upstream.seen.clear()
    yield
    for item in near.manage("GET", "/byok").json()["data"]:
        near.manage("DELETE", f"/byok/{item['id']}")


def _bring(server: Server, provider: str, **fields: Any) -> str:
    answer = server.manage("POST", "/byok", {"provider": provider, "key": "brought-by-somebody", **fields})
    assert answer.status == 201, answer.body
    found: str = answer.json()["data"]["id"]
    return found


def test_a_declared_account_serves_who_wants_no_retention_and_nobody_else_does(
    near: Server, upstream: Upstream
) -> None:
    missing = near.embed("a", model="test/kept", provider=_ZDR).error(404, "not_found")
    assert missing["availability"]["excluded_by"] == ["data_policy:zdr"]
    id_ = _bring(near, "keeping", is_fallback=True)
    assert near.embed("a", model="test/kept", provider=_ZDR).status == 404
    near.manage("PATCH", f"/byok/{id_}", {"declared_zdr": True})
    assert near.embed("a", model="test/kept", provider=_ZDR).json()["usage"]["is_byok"]
    assert upstream.keys == ["brought-by-somebody"]
    near.embed("a", model="test/kept")
    assert upstream.keys[1:] == ["of-the-environment"], "without zdr the order is as ever"


def test_where_the_declared_account_fails_no_other_is_asked(near: Server, upstream: Upstream) -> None:
    _bring(near, "keeping", declared_zdr=True)
    upstream.policy = "401"
    assert near.embed("a", model="test/kept", provider=_ZDR).status >= 400
    upstream.policy = "ok"
    assert set(upstream.keys) == {"brought-by-somebody"}


def test_an_account_that_is_declared_to_keep_prompts_is_left_out(near: Server, upstream: Upstream) -> None:
    _bring(near, "forgetting", declared_zdr=False)
    assert near.embed("a", model="test/forgotten", provider=_ZDR).status == 200
    assert upstream.keys == ["of-the-environment"]
    _bring(near, "forgetting", declared_zdr=False, is_byok_only=True)
    missing = near.embed("a", model="test/forgotten", provider=_ZDR).error(404, "not_found")
    assert missing["availability"]["excluded_by"] == ["data_policy:zdr"]
    assert near.embed("a", model="test/forgotten").status == 200


def test_it_is_no_word_on_training(near: Server) -> None:
    _bring(near, "keeping", declared_zdr=True)
    asked = {"zdr": True, "data_collection": "deny"}
    missing = near.embed("a", model="test/kept", provider=asked).error(404, "not_found")
    assert missing["availability"]["excluded_by"] == ["data_policy:training"]


def test_a_guardrails_zdr_goes_by_it_and_so_does_the_list_of_models_of_its_keys(near: Server) -> None:
    made = near.manage("POST", "/guardrails", {"name": "no retention", "enforce_zdr": True}).json()["data"]
    secret, key = near.new_key()
    near.manage("POST", f"/guardrails/{made['id']}/assignments/keys", {"key_hashes": [key["hash"]]})

    def models() -> list[str]:
        answer = near.request("GET", "/api/v1/models/user", key=secret).json()
        return sorted(model["id"] for model in answer["data"])

    def status() -> int:
        return near.request("POST", "/api/v1/embeddings", {"model": "test/kept", "input": "a"}, key=secret).status

    assert (models(), status()) == ([MODEL, "test/forgotten"], 404)
    _bring(near, "keeping", declared_zdr=True)
    assert (models(), status()) == ([MODEL, "test/forgotten", "test/kept"], 200)
    public = near.get("/api/v1/endpoints/zdr").json()["data"]
    assert "test/kept" not in {endpoint["model_id"] for endpoint in public}, "everybody is told the same"
