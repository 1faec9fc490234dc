"""/guardrails and their assignments, on SQLite and PostgreSQL; /models/user and /endpoints/zdr."""

from typing import Any

import pytest

from api.rules import made, told, workspace
from server import EMBEDDINGS, MANAGER, MODEL, PICO_PER_TOKEN, Answer, Server

_PERMASLUG = f"{MODEL}-20251117"
_NOBODY = "00000000-0000-4000-8000-0000000000ff"


def _guardrail(server: Server, **fields: Any) -> dict[str, Any]:
    return made(server, "/guardrails", {"name": "a test's", **fields})


def _assign(server: Server, guardrail: dict[str, Any], *keys: dict[str, Any]) -> None:
    answer = server.manage(
        "POST", f"/guardrails/{guardrail['id']}/assignments/keys", {"key_hashes": [key["hash"] for key in keys]}
    )
    assert (answer.status, answer.json()) == (200, {"assigned_count": len(keys)})


def _models(server: Server, secret: str) -> list[str]:
    answer = server.request("GET", "/api/v1/models/user", key=secret)
    assert answer.status == 200, answer.body
    return [model["id"] for model in answer.json()["data"]]


def test_a_guardrail_is_made_found_changed_listed_and_deleted(kept: Server) -> None:
    of = workspace(kept)
    wanted = {
        "allowed_models": [MODEL.upper()], "allowed_providers": ["BuiltIn"], "description": "why",
        "limit_usd": 50, "reset_interval": "monthly", "enforce_zdr": True, "enforce_zdr_openai": False,
        "content_filters": [], "content_filter_builtins": None, "allowed_data_regions": ["global"],
    }  # fmt: skip
    first = _guardrail(kept, workspace_id=of["slug"], **wanted)
    assert first["workspace_id"] == of["id"]
    assert first["allowed_models"] == [_PERMASLUG]
    assert first["allowed_providers"] == ["builtin"]
    assert (first["limit_usd"], first["reset_interval"], first["updated_at"]) == (50.0, "monthly", None)
    assert (first["enforce_zdr_openai"], first["enforce_zdr_other"]) == (False, True)
    assert (first["ignored_models"], first["include_byok_in_budgets"]) == (None, False)
    path = f"/guardrails/{first['id']}"
    assert told(kept, path) == first
    changed = told(kept, path, "PATCH", {"limit_usd": None, "allowed_models": None, "name": "another"})
    expected = {"limit_usd": None, "allowed_models": None, "name": "another", "updated_at": changed["updated_at"]}
    assert changed == {**first, **expected}
    listed = kept.manage("GET", f"/guardrails?workspace_id={of['id']}").json()
    assert listed == {"data": [changed], "total_count": 1}
    assert first["id"] not in str(kept.manage("GET", "/guardrails").json())  # the default workspace's
    assert kept.manage("DELETE", path).json() == {"deleted": True}
    kept.manage("GET", path).error(404, "not_found")
    kept.manage("DELETE", path).error(404, "not_found")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"limit_usd": 0}, "limit_usd"),
        ({"reset_interval": "hourly"}, "reset_interval"),
        ({"allowed_models": []}, "allowed_models"),
        ({"allowed_models": [MODEL, "acme/none"]}, "allowed_models[1]"),
        ({"ignored_providers": ["buildin"]}, "ignored_providers[0]"),
        ({"content_filters": [{"pattern": "(a+)+$", "action": "block"}]}, "content_filters"),
        ({"content_filter_builtins": [{"slug": "email", "action": "redact"}]}, "content_filter_builtins"),
        ({"allowed_data_regions": ["us"]}, "allowed_data_regions"),
        ({"workspace_id": "nothing"}, "workspace_id"),
        ({"workspace_id": "a\u0000b"}, "workspace_id"),
        ({"description": "a\u0000b"}, "description"),
    ],
)
def test_a_wrong_field_is_named(kept: Server, fields: dict[str, Any], field: str) -> None:
    error = kept.manage("POST", "/guardrails", {"name": "x", **fields}).error(400, "invalid_request")
    assert error["message"].startswith(f"{field}: "), error
    assert error["metadata"]["field"] == field


@pytest.mark.parametrize("ref", [_NOBODY, "x", "%00"])
def test_what_is_not_there_is_not_found(kept: Server, ref: str) -> None:
    hashes = {"key_hashes": ["0" * 64]}
    cases: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("GET", "/assignments/keys", None),
        ("POST", "/assignments/keys", hashes),
        ("POST", "/assignments/keys/remove", hashes),
        ("GET", "/assignments/members", None),
        ("POST", "/assignments/members", {}),
    )
    for method, path, body in cases:
        kept.manage(method, f"/guardrails/{ref}{path}", body).error(404, "not_found")


def test_a_key_has_one_guardrail_and_assigning_replaces_it(kept: Server) -> None:
    secret, key = kept.new_key()
    free, closed = _guardrail(kept), _guardrail(kept, ignored_models=[MODEL])
    assert MODEL in _models(kept, secret)
    _assign(kept, closed, key)
    assert MODEL not in _models(kept, secret)
    found = kept.manage("GET", f"/guardrails/{closed['id']}/assignments/keys").json()
    assert found["total_count"] == 1
    (assignment,) = found["data"]
    assert (assignment["key_hash"], assignment["guardrail_id"]) == (key["hash"], closed["id"])
    assert assignment in kept.manage("GET", "/guardrails/assignments/keys?limit=100").json()["data"]
    _assign(kept, free, key)
    assert MODEL in _models(kept, secret)
    none = {"data": [], "total_count": 0}
    assert kept.manage("GET", f"/guardrails/{closed['id']}/assignments/keys").json() == none
    for guardrail, count in ((closed, 0), (free, 1), (free, 0)):
        path = f"/guardrails/{guardrail['id']}/assignments/keys/remove"
        assert kept.manage("POST", path, {"key_hashes": [key["hash"]]}).json() == {"unassigned_count": count}


def test_an_unknown_key_is_named_and_none_is_assigned(kept: Server) -> None:
    _, key = kept.new_key()
    path = f"/guardrails/{_guardrail(kept)['id']}/assignments/keys"
    error = kept.manage("POST", path, {"key_hashes": [key["hash"], "0" * 64]}).error(400, "invalid_request")
    assert error["message"] == "key_hashes[1]: no API key has this hash"
    for wrong in ("{}", '{"key_hashes": []}', '{"key_hashes": ["x"]}'):
        kept.request("POST", f"/api/v1{path}", wrong, key=MANAGER).error(400, "invalid_request")
    assert kept.manage("GET", path).json()["total_count"] == 0


def test_members_have_no_guardrails(kept: Server) -> None:
    none = {"data": [], "total_count": 0}
    path = f"/guardrails/{_guardrail(kept)['id']}/assignments/members"
    assert kept.manage("GET", path).json() == none
    assert kept.manage("GET", "/guardrails/assignments/members").json() == none
    for one in (path, f"{path}/remove"):
        error = kept.manage("POST", one, {"member_user_ids": ["x"]}).error(400, "invalid_request")
        assert "API keys only" in error["message"]


def test_a_workspaces_default_guardrail_holds_for_all_its_keys(kept: Server) -> None:
    of = workspace(kept)
    secret, key = kept.new_key(workspace_id=of["id"])
    path = f"/guardrails/{of['default_guardrail_id']}"
    kept.manage("GET", path).error(404, "not_found")
    assert MODEL in _models(kept, secret)
    default = told(kept, path, "PATCH", {"ignored_providers": ["builtin"]})
    assert (default["id"], default["workspace_id"]) == (of["default_guardrail_id"], of["id"])
    assert default["name"] == "A test's default"
    assert MODEL not in _models(kept, secret)
    kept.manage("PATCH", path, {"name": "mine"}).error(400, "invalid_request")
    hashes = {"key_hashes": [key["hash"]]}
    kept.manage("POST", f"{path}/assignments/keys", hashes).error(400, "invalid_request")
    other, _ = kept.new_key()
    assert MODEL in _models(kept, other)
    kept.manage("DELETE", path)
    assert MODEL in _models(kept, secret)


def test_a_used_up_guardrail_refuses_with_403(kept: Server) -> None:
    secrets, keys = zip(*(kept.new_key() for _ in range(2)), strict=True)
    body = {"model": MODEL, "input": "guarded"}
    cost = kept.request("POST", EMBEDDINGS, body, key=secrets[0]).tokens() * PICO_PER_TOKEN / 1e12
    guardrail = _guardrail(kept, limit_usd=3 * cost, reset_interval="daily")
    _assign(kept, guardrail, *keys)
    statuses = [kept.request("POST", EMBEDDINGS, body, key=secret).status for secret in (*secrets, *secrets)]
    assert statuses == [200, 200, 200, 403]
    error = kept.request("POST", EMBEDDINGS, body, key=secrets[0]).error(403, "permission_denied")
    assert error["message"].startswith("Guardrail daily budget of $")
    assert error["metadata"]["limit_usd"] == pytest.approx(3 * cost)
    (budget,) = kept.request("GET", "/api/v1/key", key=secrets[1]).json()["data"]["budgets"]
    assert (budget["scope"], budget["guardrail_id"]) == ("api_key", guardrail["id"])
    assert (budget["spend_usd"], budget["remaining_usd"]) == (pytest.approx(3 * cost), 0.0)


@pytest.mark.parametrize("fields", [{"ignored_models": [MODEL]}, {"ignored_providers": ["builtin"]}], ids=str)
def test_what_a_guardrail_does_not_allow_is_refused_also_where_the_answer_is_cached(
    kept: Server, fields: dict[str, Any]
) -> None:
    secret, key = kept.new_key()

    def ask() -> Answer:
        wanted = {"model": MODEL, "input": "allowed or not", "provider": {"only": ["builtin"], "zdr": False}}
        return kept.request("POST", EMBEDDINGS, wanted, {"X-OpenRouter-Cache": "true"}, key=secret)

    assert [ask().headers["x-openrouter-cache-status"] for _ in range(2)] == ["MISS", "HIT"]
    guardrail = _guardrail(kept, **fields)
    _assign(kept, guardrail, key)
    refused = ask()
    assert refused.status in (403, 404)
    assert "guardrail" in refused.json()["error"]["message"]
    kept.manage("DELETE", f"/guardrails/{guardrail['id']}")
    assert ask().status == 200


def test_models_of_a_key_are_paged_like_all_models(kept: Server) -> None:
    secret, _ = kept.new_key()
    page = kept.request("GET", "/api/v1/models/user?offset=0&limit=1", key=secret).json()
    assert page == {**kept.get("/api/v1/models?offset=0&limit=1").json(), "links": page["links"]}


def test_endpoints_without_retention_are_public(kept: Server) -> None:
    (endpoint,) = kept.get("/api/v1/endpoints/zdr").json()["data"]
    assert endpoint in kept.get(f"/api/v1/models/{MODEL}/endpoints").json()["data"]["endpoints"]
