"""/presets, and requests that name one, on SQLite and PostgreSQL."""

from typing import Any

import pytest

from api.rules import made, slug, told, workspace
from embedrouter.api.preset_calls import Named, apply, named
from embedrouter.errors import InvalidRequestError
from embedrouter.managing.presets import PresetConfig
from embedrouter.requests.schemas import EmbeddingsRequest
from embedrouter.routing.preferences import ProviderPreferences
from server import EMBEDDINGS, MODEL, Answer, Server


def _preset(server: Server, query: str = "", **config: Any) -> str:
    name = slug()
    made(server, f"/presets/{name}{query}", {"config": config or {"model": MODEL}})
    return name


@pytest.mark.parametrize(
    ("model", "preset", "expected"),
    [
        ("a/b", None, Named("a/b", None)),
        ("@preset/x", None, Named(None, "x")),
        ("a/b@preset/x", None, Named("a/b", "x")),
        ("a/b:nitro@preset/x", "x", Named("a/b:nitro", "x")),
        ("a/b", "x", Named("a/b", "x")),
    ],
)
def test_a_request_names_a_preset_in_three_ways(model: str, preset: str | None, expected: Named) -> None:
    assert named(model, preset) == expected


def test_two_presets_in_one_request_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="another preset"):
        named("@preset/x", "y")


def test_the_requests_own_fields_go_before_the_presets() -> None:
    config = PresetConfig(model="a/b", provider=ProviderPreferences(sort="price", zdr=True))
    bare = EmbeddingsRequest(model="@preset/x", input="text", dimensions=7)
    given = apply(config, bare, None, "x")
    assert (given.model, given.provider, given.dimensions) == ("a/b", config.provider, 7)
    own = ProviderPreferences(sort="latency")
    given = apply(config, EmbeddingsRequest(model="c/d@preset/x", input="text", provider=own), "c/d", "x")
    assert (given.model, given.provider) == ("c/d", own)  # shallow: nothing of the preset's provider is left
    with pytest.raises(InvalidRequestError, match='the preset "x" names no model'):
        apply(PresetConfig(), bare, None, "x")


def test_a_preset_has_versions_of_which_the_newest_counts(kept: Server) -> None:
    name = slug()
    first = made(kept, f"/presets/{name}", {"config": {"model": MODEL}, "name": "Mine", "description": "why"})
    config = {"model": "x/y", "provider": {"sort": "price", "max_price": {"prompt": 0.02}}, "cache_ttl_seconds": 60}
    second = made(kept, f"/presets/{name}", {"config": config})
    assert (first["id"], first["name"], first["created_at"]) == (second["id"], second["name"], second["created_at"])
    assert (second["slug"], second["name"], second["description"]) == (name, "Mine", "why")
    assert second["designated_version"]["version"] == 2
    assert second["designated_version"]["config"] == config
    assert second["designated_version_id"] == second["designated_version"]["id"]
    assert told(kept, f"/presets/{name}") == second
    listed = kept.manage("GET", "/presets?limit=100").json()
    assert listed["data"][0] == {key: value for key, value in second.items() if key != "designated_version"}
    assert listed["total_count"] == len(listed["data"])
    versions = kept.manage("GET", f"/presets/{name}/versions").json()
    assert versions == {"data": [first["designated_version"], second["designated_version"]], "total_count": 2}
    assert told(kept, f"/presets/{name}/versions/1") == first["designated_version"]
    for wrong in ("3", "0", "x", "-1"):
        kept.manage("GET", f"/presets/{name}/versions/{wrong}").error(404, "not_found")
    assert kept.manage("DELETE", f"/presets/{name}").json() == {"deleted": True}
    for path in ("", "/versions", "/versions/1"):
        kept.manage("GET", f"/presets/{name}{path}").error(404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "config"),
        ({"config": {}}, "config"),
        ({"config": {"model": "@preset/x"}}, "config.model"),
        ({"config": {"provider": {"sort": "best"}}}, "config.provider.sort"),
        ({"config": {"cache_ttl_seconds": 0}}, "config.cache_ttl_seconds"),
        ({"config": {"model": MODEL}, "name": "a\u0000b"}, "name"),
    ],
)
def test_a_wrong_field_is_named(kept: Server, body: dict[str, Any], field: str) -> None:
    error = kept.manage("POST", f"/presets/{slug()}", body).error(400, "invalid_request")
    assert error["message"].startswith(f"{field}: "), error


@pytest.mark.parametrize("wrong", ["Upper", "a--b", "a" * 101, "%00"])
def test_a_wrong_slug_is_refused(kept: Server, wrong: str) -> None:
    kept.manage("POST", f"/presets/{wrong}", {"config": {"model": MODEL}}).error(400, "invalid_request")
    kept.manage("GET", f"/presets/{wrong}").error(404, "not_found")


def test_requests_take_their_models_from_presets(kept: Server) -> None:
    name, bare = _preset(kept), _preset(kept, provider={"zdr": True})
    expected = kept.embed("a text").vectors().tolist()
    for fields in (
        {"model": f"@preset/{name}"},
        {"model": f"{MODEL}@preset/{bare}"},
        {"model": MODEL, "preset": bare},
        {"model": f"@preset/{name}", "preset": name},
    ):
        answer = kept.post({"input": "a text", **fields})
        assert answer.vectors().tolist() == expected
        assert answer.json()["model"] == MODEL
    error = kept.post({"input": "a text", "model": f"@preset/{bare}"}).error(400, "invalid_request")
    assert error["metadata"]["field"] == "model"
    for model in ("@preset/nothing", f"{MODEL}@preset/nothing", f"{MODEL}@preset/"):
        error = kept.post({"input": "a text", "model": model}).error(404, "not_found")
        assert error["message"].startswith("no preset of this workspace has the slug")


def test_a_presets_provider_preferences_hold_unless_the_request_has_its_own(kept: Server) -> None:
    name = _preset(kept, model=MODEL, provider={"only": ["elsewhere"]})
    kept.post({"input": "a text", "model": f"@preset/{name}"}).error(404, "not_found")
    assert kept.post({"input": "a text", "model": f"@preset/{name}", "provider": {}}).status == 200


def _cached(server: Server, name: str, headers: dict[str, str] | None = None) -> tuple[str | None, str | None]:
    answer = server.post({"input": "a cached text", "model": f"@preset/{name}"}, headers)
    assert answer.status == 200
    return answer.headers.get("x-openrouter-cache-status"), answer.headers.get("x-openrouter-cache-ttl")


def test_a_preset_may_switch_the_cache_on_and_its_next_version_starts_anew(kept: Server) -> None:
    name = _preset(kept, model=MODEL, cache_enabled=True, cache_ttl_seconds=77)
    assert _cached(kept, name) == ("MISS", "77")
    assert _cached(kept, name)[0] == "HIT"
    assert _cached(kept, name, {"X-OpenRouter-Cache": "false"}) == (None, None)
    made(kept, f"/presets/{name}", {"config": {"model": MODEL, "cache_enabled": True}})
    assert _cached(kept, name, {"X-OpenRouter-Cache-TTL": "5"}) == ("MISS", "5")


def test_a_presets_no_to_the_cache_counts_more_than_the_header(kept: Server) -> None:
    name = _preset(kept, model=MODEL, cache_enabled=False)
    assert _cached(kept, name, {"X-OpenRouter-Cache": "true"}) == (None, None)


def test_a_guardrail_that_wants_nothing_retained_switches_the_cache_off(kept: Server) -> None:
    secret, key = kept.new_key()
    guardrail = made(kept, "/guardrails", {"name": "zdr", "enforce_zdr": True})

    def status() -> str | None:
        answer = kept.request(
            "POST", EMBEDDINGS, {"input": "zdr", "model": MODEL}, {"X-OpenRouter-Cache": "true"}, key=secret
        )
        assert answer.status == 200
        return answer.headers.get("x-openrouter-cache-status")

    assert (status(), status()) == ("MISS", "HIT")
    kept.manage("POST", f"/guardrails/{guardrail['id']}/assignments/keys", {"key_hashes": [key["hash"]]})
    assert status() is None


def test_a_key_sees_and_uses_no_preset_of_another_workspace(kept: Server) -> None:
    """Attack: another workspace's settings by their name or their workspace's."""
    of = workspace(kept)
    inside, _ = kept.new_key(workspace_id=of["id"])
    outside, _ = kept.new_key()
    name = _preset(kept, f"?workspace_id={of['slug']}")

    def ask(key: str, path: str) -> Answer:
        return kept.request("GET", f"/api/v1/presets{path}", key=key)

    assert [one["slug"] for one in ask(inside, "").json()["data"]] == [name]
    assert ask(inside, f"/{name}?workspace_id={of['id']}").status == 200
    assert name not in str(ask(outside, "?limit=100").json())
    for path in (f"/{name}", f"/{name}/versions", f"/{name}/versions/1"):
        ask(outside, path).error(404, "not_found")
        ask(outside, f"{path}?workspace_id={of['id']}").error(403, "permission_denied")
    ask(outside, f"?workspace_id={of['id']}").error(403, "permission_denied")
    body = {"input": "a text", "model": f"@preset/{name}"}
    assert kept.request("POST", EMBEDDINGS, body, key=inside).status == 200
    kept.request("POST", EMBEDDINGS, body, key=outside).error(404, "not_found")
    for method in ("POST", "DELETE"):
        kept.request(method, f"/api/v1/presets/{name}", "{}", key=inside).error(403, "permission_denied")
