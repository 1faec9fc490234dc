"""/private-endpoints: drafted, validated by really asking, activated; against real upstreams."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from deployment import CATALOG, GOOD, Deployment, deployment
from embedrouter.accounts.first import WORKSPACE
from server import KEY, MANAGER, MODEL, Answer, Server, serving

_SECRET = "sk-private-canary-0123456789"  # noqa: S105 (nobody's)
_PERMASLUG = f"{MODEL}-20251117"
# OpenRouter's own client needs these.
_ITEM = {
    "id", "status", "model_permaslug", "model_slug", "model_name", "provider_name", "provider_slug", "base_url",
    "upstream_model_id", "pricing", "declared_region", "declared_zdr", "created_at", "workspace_id",
}  # fmt: skip


@pytest.fixture(scope="session")
def upstream() -> Iterator[Deployment]:
    with deployment() as started:
        yield started


@pytest.fixture(autouse=True)
def behaves(upstream: Deployment) -> None:
    upstream.answers = dict(GOOD)
    upstream.seen.clear()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose catalog has the providers `own` and `free`, with a credential of `own`."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "catalog.toml").write_text(CATALOG)
    postgres = request.param == "postgresql"
    chosen = {"database_url": request.getfixturevalue("postgres").create_database()} if postgres else {}
    with serving(folder, management_key=MANAGER, catalog=folder / "catalog.toml", **chosen) as server:
        assert server.manage("POST", "/byok", {"provider": "own", "key": _SECRET}).status == 201
        yield server


def _post(server: Server, path: str = "", body: dict[str, Any] | None = None, **headers: str) -> Answer:
    answer = server.manage("POST", f"/private-endpoints{path}", body, **headers)
    assert _SECRET.encode() not in answer.body
    return answer


def _body(upstream: Deployment, **fields: Any) -> dict[str, Any]:
    return {
        "model_permaslug": _PERMASLUG,
        "provider_slug": "own",
        "upstream_model_id": "all-minilm-l6-v2",
        "base_url": upstream.url,
        "pricing": {"prompt": "0.00000001", "completion": "0"},
        **fields,
    }


def _draft(server: Server, upstream: Deployment, **fields: Any) -> dict[str, Any]:
    answer = _post(server, body=_body(upstream, **fields))
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


def _validate(server: Server, id_: str) -> dict[str, Any]:
    answer = _post(server, f"/{id_}/validate", {"workspace_id": WORKSPACE})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


def _failed(found: dict[str, Any]) -> dict[str, Any]:
    """The check that did not pass."""
    assert not found["passed"]
    (failed,) = [check for check in found["checks"] if not check["passed"]]
    return dict(failed)


def test_a_draft_says_what_it_was_told(own: Server, upstream: Deployment) -> None:
    item = _draft(own, upstream, declared_region="europe", declared_zdr=True)
    assert set(item) == _ITEM
    assert (item["status"], item["model_slug"], item["provider_name"]) == ("draft", MODEL, "Our own")
    assert (item["declared_region"], item["declared_zdr"]) == ("europe", True)
    assert item["pricing"] == {"prompt": "0.00000001", "completion": "0"}
    assert own.manage("GET", f"/private-endpoints/{item['id']}").json()["data"] == item
    assert item in own.manage("GET", "/private-endpoints").json()["data"]
    assert upstream.seen == []


def test_from_a_draft_to_active_disabled_and_gone(own: Server, upstream: Deployment) -> None:
    id_ = _draft(own, upstream)["id"]
    assert _post(own, f"/{id_}/activate").error(409, "conflict")["metadata"]["reason"] == "not_validated"
    for switch in ("enable", "disable"):
        _post(own, f"/{id_}/{switch}").error(409, "conflict")
    found = _validate(own, id_)
    assert found["passed"], found
    assert {check["passed"] for check in found["checks"]} == {True}
    ((path, credential, body),) = upstream.seen
    assert (path, credential, body["model"]) == ("/v1/embeddings", f"Bearer {_SECRET}", "all-minilm-l6-v2")
    active = _post(own, f"/{id_}/activate").json()["data"]
    assert (active["status"], active["workspace_id"]) == ("active", WORKSPACE)
    _post(own, f"/{id_}/activate").error(409, "conflict")
    _post(own, f"/{id_}/validate", {"workspace_id": WORKSPACE}).error(409, "conflict")
    own.manage("PATCH", f"/private-endpoints/{id_}", {"upstream_model_id": "x"}).error(409, "conflict")
    for switch, status in (("disable", "disabled"), ("disable", "disabled"), ("enable", "active")):
        assert _post(own, f"/{id_}/{switch}").json()["data"]["status"] == status
    own.manage("DELETE", f"/private-endpoints/{id_}?draft_only=true").error(409, "conflict")
    assert own.manage("DELETE", f"/private-endpoints/{id_}").json() == {"data": {"id": id_}}
    own.manage("GET", f"/private-endpoints/{id_}").error(404, "not_found")


@pytest.mark.parametrize(
    ("answers", "check"),
    [
        ({"status": 500}, {"name": "upstream", "reason": "upstream_error", "upstream_status": 500}),
        ({"status": 401}, {"name": "upstream", "reason": "upstream_error", "upstream_status": 401}),
        ({"dimensions": 383}, {"name": "response", "reason": "invalid_response"}),
        ({"model": "bge-m3"}, {"name": "model", "reason": "model_mismatch", "actual_model": "bge-m3"}),
    ],
)
def test_what_is_wrong_with_the_deployment_is_told_and_it_cannot_be_activated(
    own: Server, upstream: Deployment, answers: dict[str, Any], check: dict[str, Any]
) -> None:
    id_ = _draft(own, upstream)["id"]
    upstream.answers.update(answers)
    failed = _failed(_validate(own, id_))
    assert failed.items() >= check.items(), failed
    _post(own, f"/{id_}/activate").error(409, "conflict")


def test_a_deployment_that_is_not_there_is_an_upstream_error(own: Server, upstream: Deployment) -> None:
    id_ = _draft(own, upstream, base_url="http://127.0.0.1:9/v1")["id"]
    assert _failed(_validate(own, id_))["reason"] == "upstream_error"


def test_without_a_credential_there_is_nothing_to_ask_with(own: Server, upstream: Deployment) -> None:
    id_ = _draft(own, upstream, provider_slug="openai", base_url="https://example.com/v1")["id"]
    assert _failed(_validate(own, id_)) == {"name": "credential", "passed": False, "reason": "no_byok_key"}
    id_ = _draft(own, upstream, provider_slug="free")["id"]
    assert _validate(own, id_)["passed"]
    assert upstream.seen[-1][1] == ""


def test_an_edit_clears_the_validation_and_maybe_the_declarations(own: Server, upstream: Deployment) -> None:
    item = _draft(own, upstream, declared_zdr=True)
    path = f"/private-endpoints/{item['id']}"
    _validate(own, item["id"])
    same = own.manage("PATCH", path, {"upstream_model_id": item["upstream_model_id"]}).json()["data"]
    assert same == item
    other = own.manage("PATCH", path, {"upstream_model_id": "all-minilm-l6-v2-b"}).json()["data"]
    assert other == item | {"upstream_model_id": "all-minilm-l6-v2-b", "declared_zdr": None}
    assert _post(own, f"/{item['id']}/activate").error(409, "conflict")["metadata"]["reason"] == "not_validated"


def test_a_validation_holds_for_its_workspace_and_its_credential(own: Server, upstream: Deployment) -> None:
    id_ = _draft(own, upstream)["id"]
    _validate(own, id_)
    other = _post(own, f"/{id_}/activate", {"workspace_id": str(uuid.uuid4())}).error(409, "conflict")
    assert other["metadata"]["reason"] == "validation_stale"
    (used,) = own.manage("GET", "/byok?provider=own").json()["data"]
    own.manage("DELETE", f"/byok/{used['id']}")
    own.manage("POST", "/byok", {"provider": "own", "key": _SECRET})
    assert _post(own, f"/{id_}/activate").error(409, "conflict")["metadata"]["reason"] == "validation_stale"


def test_prices_are_replaced_also_of_what_is_active(own: Server, upstream: Deployment) -> None:
    id_ = _draft(own, upstream, activate={"workspace_id": WORKSPACE})["id"]
    pricing = {"prompt": "0.000001", "completion": "0", "cache_read": "0.0000005"}
    changed = own.manage("PUT", f"/private-endpoints/{id_}/pricing", {"pricing": pricing}).json()["data"]
    assert (changed["pricing"], changed["status"]) == (pricing, "active")
    for wrong in ("-1", "free", "1e5", "0.0000000000001", "9999999"):
        answer = own.manage("PUT", f"/private-endpoints/{id_}/pricing", {"pricing": {**pricing, "prompt": wrong}})
        answer.error(400, "invalid_request")


def test_all_three_steps_at_once(own: Server, upstream: Deployment) -> None:
    assert _draft(own, upstream, activate={"workspace_id": WORKSPACE})["status"] == "active"
    upstream.answers["dimensions"] = 3
    answer = _post(own, body=_body(upstream, activate={"workspace_id": WORKSPACE}))
    assert answer.status == 422
    document = answer.json()
    assert document["error"]["metadata"]["error_type"] == "unprocessable"
    assert _failed(document["data"]["validation"])["reason"] == "invalid_response"
    kept = document["data"]["endpoint"]
    assert own.manage("GET", f"/private-endpoints/{kept['id']}").json()["data"] == kept
    assert kept["status"] == "draft"


def test_an_idempotency_key_makes_one_endpoint(own: Server, upstream: Deployment) -> None:
    key = str(uuid.uuid4())
    first = _post(own, body=_body(upstream), Idempotency_Key=key)
    again = _post(own, body=_body(upstream), Idempotency_Key=key)
    assert (first.status, again.status) == (201, 201)
    assert first.json() == again.json()
    refused = _post(own, body=_body(upstream, upstream_model_id="another"), Idempotency_Key=key)
    assert refused.error(422, "unprocessable")["metadata"]["reason"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"provider_slug": "nobody"}, 404, "provider_slug"),
        ({"model_permaslug": "nobody/nothing"}, 404, None),
        ({"upstream_model_id": ""}, 400, "upstream_model_id"),
        ({"upstream_model_id": "a\nb"}, 400, "upstream_model_id"),
        ({"declared_region": "mars"}, 400, "declared_region"),
        ({"pricing": {"prompt": "1"}}, 400, "pricing.completion"),
        ({"base_url": "http://example.com/v1"}, 400, "base_url"),
        ({"base_url": "https://user:secret@example.com/v1"}, 400, "base_url"),
        ({"base_url": "https://169.254.169.254/latest"}, 400, "base_url"),
        ({"base_url": "https://10.0.0.1/v1"}, 400, "base_url"),
        ({"base_url": "https://[::1]/v1"}, 400, "base_url"),
        ({"base_url": "file:///etc/passwd"}, 400, "base_url"),
        ({"base_url": "https://example.com/v1?x=1"}, 400, "base_url"),
        ({"provider_slug": "openai", "base_url": "http://127.0.0.1:9/v1"}, 400, "base_url"),
        ({"provider_slug": "azure", "base_url": None}, 400, "base_url"),
    ],
)
def test_what_is_wrong_with_a_draft_is_named(
    own: Server, upstream: Deployment, fields: dict[str, Any], status: int, field: str | None
) -> None:
    answer = _post(own, body=_body(upstream, **fields))
    found = answer.error(status, "not_found" if status == 404 else "invalid_request")
    assert found["metadata"].get("field") == field
    assert "secret" not in found["message"]


def test_what_is_no_id_is_not_found(own: Server) -> None:
    for id_ in ("x", str(uuid.uuid4()), "a%00b"):
        own.manage("GET", f"/private-endpoints/{id_}").error(404, "not_found")
        for action in ("activate", "disable", "enable"):
            _post(own, f"/{id_}/{action}").error(404, "not_found")


def test_a_key_that_embeds_may_not(own: Server) -> None:
    own.request("GET", "/api/v1/private-endpoints", key=KEY).error(403, "permission_denied")


def test_the_credential_is_in_no_log_and_not_in_the_database(own: Server) -> None:
    for path in own.folder.rglob("*"):
        if path.is_file():
            assert _SECRET.encode() not in path.read_bytes(), path
