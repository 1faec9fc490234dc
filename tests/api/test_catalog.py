"""/catalog, and what /models and /providers show of it: on one server with a file of its operator's."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Commands
from server import KEY, MANAGER, MODEL, Server, eventually, serving

_FILE = """
[[providers]]
slug = "acme"
name = "Acme"
wire = "openai"
base_url = "https://api.acme.example/v1"
credential_env = "CATALOG_TEST_CREDENTIAL"
privacy_policy_url = "https://acme.example/privacy"
headquarters = "DE"

[[models]]
slug = "acme/one"
name = "Acme: One"
created = 2025-01-02
context_length = 512
dimensions = 8

[[endpoints]]
model = "acme/one"
provider = "acme"
upstream_model = "one"
price_per_million = "0.10"

[[endpoints]]
model = "acme/one"
provider = "acme"
tag = "acme/eu"
upstream_model = "one-eu"
price_per_million = "0.05"
context_length = 256
retains_prompts = false
"""
_MINE = {"slug": "mine", "name": "Mine", "wire": "tei", "base_url": "http://10.0.0.1:80", "allow_private": True,
         "needs_credential": False}  # fmt: skip
_ENDPOINT = {"model": MODEL, "provider": "mine", "upstream_model": "minilm", "price_per_million": "0.001"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "data").mkdir()
    (folder / "data" / "catalog.toml").write_text(_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATALOG_TEST_CREDENTIAL", "acme-secret-value")
        with serving(folder, management_key=MANAGER) as running:
            yield running


@pytest.fixture(autouse=True)
def as_it_was(server: Server) -> Iterator[None]:
    """What a test states in the database, it leaves to nobody."""
    yield
    for kind in ("endpoint", "model", "provider"):
        for item in server.manage("GET", "/catalog").json()["data"]:
            if item["kind"] == kind and item["source"] == "database":
                assert server.manage("DELETE", path_of(kind, item["key"])).status == 200


def path_of(kind: str, key: str) -> str:
    if kind == "endpoint":
        model, _, tag = key.partition(" ")
        return f"/catalog/endpoints?model={model}&tag={tag}"
    return f"/catalog/{kind}s/{key}"


def put(server: Server, kind: str, entry: dict[str, Any], key: str = "") -> dict[str, Any]:
    path = "/catalog/endpoints" if kind == "endpoint" else f"/catalog/{kind}s/{key or entry['slug']}"
    answer = server.manage("PUT", path, entry)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


def models(server: Server) -> list[str]:
    return [model["id"] for model in server.get("/api/v1/models").json()["data"]]


def test_the_operators_file_is_served_beside_the_builtin_model(server: Server) -> None:
    assert models(server) == [MODEL, "acme/one"]
    model = server.get("/api/v1/model/acme/one").json()["data"]
    assert (model["name"], model["created"], model["context_length"]) == ("Acme: One", 1_735_776_000, 512)
    assert model["pricing"]["prompt"] == "0.00000005", "of its cheapest endpoint"
    endpoints = server.get("/api/v1/models/acme/one/endpoints").json()["data"]["endpoints"]
    assert [(one["tag"], one["pricing"]["prompt"], one["context_length"]) for one in endpoints] == [
        ("acme", "0.0000001", 512),
        ("acme/eu", "0.00000005", 256),
    ]
    assert server.get("/api/v1/models/count").json()["data"]["count"] == 2


def test_models_are_filtered_by_any_of_their_endpoints(server: Server) -> None:
    def found(query: str) -> list[str]:
        return [model["id"] for model in server.get(f"/api/v1/models?{query}").json()["data"]]

    assert found("zdr=true") == [MODEL, "acme/one"]
    assert found("providers=acme") == ["acme/one"]
    assert found("min_price=0.04") == ["acme/one"]
    assert found("sort=pricing-high-to-low") == ["acme/one", MODEL]


def test_providers_say_what_everybody_may_know_and_nothing_else(server: Server) -> None:
    (acme, builtin) = server.get("/api/v1/providers").json()["data"]
    assert acme == {
        "slug": "acme", "name": "Acme", "privacy_policy_url": "https://acme.example/privacy",
        "terms_of_service_url": None, "status_page_url": None, "headquarters": "DE", "datacenters": None,
    }  # fmt: skip
    assert builtin["slug"] == "builtin"


def test_the_catalog_tells_each_entrys_source_and_why_it_is_not_served(server: Server) -> None:
    document = server.manage("GET", "/catalog").json()
    items = {(item["kind"], item["key"]): item for item in document["data"]}
    acme = items["provider", "acme"]
    assert (acme["source"], acme["served"], acme["unserved_reason"]) == ("file", True, None)
    assert acme["entry"]["base_url"] == "https://api.acme.example/v1"
    openai = items["endpoint", "openai/text-embedding-3-small openai"]
    assert (openai["source"], openai["served"]) == ("shipped", False)
    assert openai["unserved_reason"] == (
        "its provider is not ready: it has no credential: set OPENAI_API_KEY or store one"
    )
    assert items["model", "openai/text-embedding-3-small"]["unserved_reason"] == "none of its endpoints is served"
    assert items["provider", "ollama"]["unserved_reason"] == "it has no base_url"
    assert "acme-secret-value" not in json.dumps(document)


def test_who_asks_for_a_shipped_model_is_told_what_would_enable_it(server: Server) -> None:
    name = "openai/text-embedding-3-small"
    answer = server.embed("a text", model=name)
    error = answer.error(404, "not_found")
    assert "OPENAI_API_KEY" in error["message"]
    assert "/byok" in error["message"]
    assert error["availability"]["code"] == "no_endpoints"
    assert error["availability"]["excluded_by"] == ["credentials"]
    error = server.embed("a text", provider={"only": ["deepinfra"]}).error(404, "not_found")
    assert "set DEEPINFRA_API_KEY" in error["message"]
    endpoints = server.manage("GET", "/catalog").json()["data"]
    shipped = [item["entry"] for item in endpoints if item["kind"] == "endpoint" and item["entry"]["model"] == name]
    for entry in shipped:
        put(server, "endpoint", entry | {"disabled": True})
    error = server.embed("a text", model=name).error(404, "not_found")
    assert "API_KEY" not in error["message"]
    assert error["availability"]["code"] == "model_not_found"
    for entry in shipped:
        server.manage("DELETE", path_of("endpoint", f"{name} {entry.get('tag') or entry['provider']}"))


def test_what_is_put_is_served_at_once_and_what_is_deleted_is_gone(server: Server) -> None:
    revision = server.manage("GET", "/catalog").json()["revision"]
    made = put(server, "provider", _MINE)
    assert (made["source"], made["served"], made["replaces"]) == ("database", True, [])
    assert made["updated_by"].startswith("key:sk-er-v1-b05...")
    assert put(server, "endpoint", _ENDPOINT)["key"] == f"{MODEL} mine"
    endpoints = server.get(f"/api/v1/models/{MODEL}/endpoints").json()["data"]["endpoints"]
    assert [endpoint["provider_name"] for endpoint in endpoints] == ["Builtin", "Mine"]
    assert server.manage("GET", "/catalog").json()["revision"] == revision + 2
    gone = server.manage("DELETE", path_of("endpoint", f"{MODEL} mine")).json()
    assert gone == {"deleted": True, "now": None}
    assert len(server.get(f"/api/v1/models/{MODEL}/endpoints").json()["data"]["endpoints"]) == 1


def test_answers_kept_before_a_change_are_not_given_after_it(server: Server) -> None:
    def status(**fields: Any) -> str | None:
        answer = server.embed("kept before a change", {"X-OpenRouter-Cache": "true"}, **fields)
        return answer.headers.get("x-openrouter-cache-status")

    assert [status(), status()] == ["MISS", "HIT"]
    put(server, "provider", _MINE)
    assert status() == "HIT", "another's entry"
    put(server, "endpoint", _ENDPOINT)
    assert [status(), status()] == ["MISS", "HIT"]
    server.manage("DELETE", path_of("endpoint", f"{MODEL} mine"))
    assert status() == "MISS"


def test_the_database_overrides_the_file_and_taking_it_back_restores_it(server: Server) -> None:
    entry = {"model": "acme/one", "provider": "acme", "upstream_model": "one", "price_per_million": "0.01"}
    assert put(server, "endpoint", entry)["replaces"] == ["file"]
    assert server.get("/api/v1/model/acme/one").json()["data"]["pricing"]["prompt"] == "0.00000001"
    left = server.manage("DELETE", path_of("endpoint", "acme/one acme")).json()["now"]
    assert (left["source"], left["entry"]["price_per_million"], left["updated_at"]) == ("file", "0.10", None)


def test_removed_hides_a_model_and_delete_shows_it_again(server: Server) -> None:
    hidden = put(server, "model", {"removed": True}, key="acme/one")
    assert (hidden["served"], hidden["unserved_reason"]) == (False, "it is hidden in the database")
    assert models(server) == [MODEL]
    server.get("/api/v1/model/acme/one").error(404, "not_found")
    assert server.manage("DELETE", "/catalog/models/acme/one").status == 200
    assert models(server) == [MODEL, "acme/one"]


@pytest.mark.parametrize(
    ("path", "entry", "field", "told"),
    [
        ("providers/mine", _MINE | {"wire": "opnai"}, "wire", 'did you mean "openai"'),
        ("providers/mine", _MINE | {"slug": "other"}, "slug", "the one of the path"),
        ("providers/mine", _MINE | {"password": "hunter2"}, "password", "is no field"),
        ("providers/mine", _MINE | {"allow_private": False}, "base_url", "must begin with https"),
        ("providers/mine", _MINE | {"credential_env": "CATALOG_TEST_CREDENTIAL"}, "credential_env", "in the database"),
        ("providers/builtin", _MINE | {"slug": "builtin"}, "slug", "the program's own"),
        ("models/acme/two", {"context_length": 8, "dimensions": 0}, "dimensions", ">= 1"),
        ("models/acme/one", {"context_length": 8, "dimensions": 8, "aliases": [MODEL]}, "aliases", "already"),
        ("endpoints", _ENDPOINT, "provider", 'there is no provider "mine"'),
        ("endpoints", _ENDPOINT | {"provider": "acme", "space": {"dimensions": 8}}, "space.dimensions", "never stand"),
        ("endpoints", {"model": MODEL}, "provider", "is required"),
        ("endpoints", {"model": "no/such", "tag": "x", "removed": True}, "removed", "hides nothing"),
    ],
)
def test_what_is_wrong_is_refused_by_field_and_nothing_changes(
    server: Server, path: str, entry: dict[str, Any], field: str, told: str
) -> None:
    before = server.manage("GET", "/catalog").body
    refused = server.manage("PUT", f"/catalog/{path}", entry).error(400, "invalid_request")
    assert f"{field}: " in refused["message"]
    assert told in refused["message"]
    assert server.manage("GET", "/catalog").body == before


def test_a_change_that_breaks_another_entry_is_refused(server: Server) -> None:
    put(server, "provider", _MINE)
    put(server, "endpoint", _ENDPOINT)
    refused = server.manage("DELETE", "/catalog/providers/mine").error(400, "invalid_request")
    assert f'endpoint "{MODEL} mine" in the database: provider: there is no provider "mine"' in refused["message"]
    assert refused["metadata"]["problems"][0]["field"] == "provider"


def test_a_dry_run_tells_everything_and_changes_nothing(server: Server) -> None:
    before = server.manage("GET", "/catalog").body

    def tried(**document: Any) -> dict[str, Any]:
        answer = server.manage("POST", "/catalog/validate", document)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()["data"]
        return found

    good = tried(providers=[_MINE], endpoints=[_ENDPOINT], models=[{"slug": "acme/one", "removed": True}])
    assert good == {"valid": True, "problems": [], "models": [MODEL]}
    bad = tried(providers=[_MINE | {"wire": "x"}], endpoints=[_ENDPOINT | {"tag": "y"}, _ENDPOINT | {"limits": 1}])
    assert bad["valid"] is False
    assert {problem["field"] for problem in bad["problems"]} == {"wire", "tag", "limits"}
    assert server.manage("GET", "/catalog").body == before


@pytest.mark.parametrize("path", ["providers/nope", "models/no/pe", f"endpoints?model={MODEL}&tag=nope"])
def test_what_is_not_there_is_not_found(server: Server, path: str) -> None:
    for method in ("GET", "DELETE"):
        server.manage(method, f"/catalog/{path}").error(404, "not_found")


def test_deleting_what_is_shipped_says_how_to_hide_it(server: Server) -> None:
    told = server.manage("DELETE", "/catalog/providers/openai").error(404, "not_found")
    assert 'PUT {"removed": true}' in told["message"]


def test_an_api_key_sees_nothing_of_it(server: Server) -> None:
    server.request("GET", "/api/v1/catalog", key=KEY).error(403, "permission_denied")


# --- live


def test_the_command_line_changes_a_running_server(server: Server, tmp_path: Path) -> None:
    commands = Commands(server.data_dir, f"sqlite:///{server.data_dir / 'embedrouter.db'}")
    file = tmp_path / "more.toml"
    file.write_text('[[models]]\nslug = "acme/one"\nname = "Renamed"\ncontext_length = 512\ndimensions = 8\n')
    assert commands("catalog", "set", str(file)).status == 0
    eventually(lambda: server.get("/api/v1/model/acme/one").json()["data"]["name"] == "Renamed", patience=5)
    assert commands("catalog", "remove", "model", "acme/one").status == 0
    eventually(lambda: server.get("/api/v1/model/acme/one").json()["data"]["name"] == "Acme: One", patience=5)


def test_a_changed_file_is_taken_in_and_a_wrong_one_leaves_the_old_catalog(server: Server) -> None:
    file = server.data_dir / "catalog.toml"

    def write(text: str) -> None:
        file.with_suffix(".new").write_text(text)
        os.replace(file.with_suffix(".new"), file)  # noqa: PTH105

    try:
        write(_FILE.replace("Acme: One", "Acme: Uno"))
        eventually(lambda: server.get("/api/v1/model/acme/one").json()["data"]["name"] == "Acme: Uno", patience=5)
        write(_FILE.replace('wire = "openai"', 'wire = "telepathy"').replace("Acme: One", "Acme: Due"))
        eventually(lambda: "the catalog's file is not taken in" in server.output(), patience=5)
        told = 'provider "acme" in ' + str(file) + ": wire: must be one of"
        assert server.output().count(told) == 1, server.output()
        assert server.get("/api/v1/model/acme/one").json()["data"]["name"] == "Acme: Uno"
        put(server, "provider", _MINE)
        assert "mine" in {item["key"] for item in server.manage("GET", "/catalog").json()["data"]}
    finally:
        write(_FILE)
    eventually(lambda: server.get("/api/v1/model/acme/one").json()["data"]["name"] == "Acme: One", patience=5)
    assert "acme-secret-value" not in server.output()
