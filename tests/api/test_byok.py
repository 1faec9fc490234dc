"""/byok: every field, on both databases. The secret is in no answer."""

import uuid
from typing import Any

import pytest

from embedrouter.accounts.first import WORKSPACE
from server import KEY, MODEL, Answer, Server, serving

_SECRET = "sk-proj-canary0123456789"  # noqa: S105 (nobody's)
# Both versions of OpenRouter's own clients need these.
_ITEM = {
    "id", "provider", "label", "name", "disabled", "is_fallback", "sort_order", "workspace_id", "allowed_models",
    "allowed_api_key_hashes", "allowed_user_ids", "created_at", "declared_region", "declared_zdr", "is_required",
    "is_byok_only",
}  # fmt: skip


def _add(server: Server, **fields: Any) -> dict[str, Any]:
    answer = server.manage("POST", "/byok", {"provider": "openai", "key": _SECRET, **fields})
    assert answer.status == 201, answer.body
    assert _SECRET.encode() not in answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


def _patch(server: Server, id_: str, **fields: Any) -> Answer:
    answer = server.manage("PATCH", f"/byok/{id_}", fields)
    assert _SECRET.encode() not in answer.body
    return answer


def test_a_new_credential_has_defaults_and_tells_no_secret(kept: Server) -> None:
    item = _add(kept)
    assert set(item) == _ITEM
    assert (item["provider"], item["label"], item["workspace_id"]) == ("openai", "sk-...6789", WORKSPACE)
    nothing = _ITEM - {"id", "provider", "label", "sort_order", "workspace_id", "created_at"}
    assert {item[name] for name in nothing} == {None, False}
    assert kept.manage("GET", f"/byok/{item['id']}").json() == {"data": item}
    assert _SECRET.encode() not in kept.manage("GET", "/byok").body


def test_every_field_is_kept_and_told(kept: Server) -> None:
    _, key = kept.new_key()
    given = {
        "provider": "cohere",
        "name": "Ä credential ✓",
        "disabled": True,
        "is_fallback": True,
        "is_required": True,
        "workspace_id": None,
        "allowed_models": [MODEL],
        "allowed_api_key_hashes": [key["hash"]],
        "allowed_user_ids": ["user-1"],
        "declared_region": "europe",
        "declared_zdr": False,
    }
    item = _add(kept, **given)
    assert {name: item[name] for name in given} == given


def test_what_is_left_out_stays_and_null_clears(kept: Server) -> None:
    item = _add(kept, name="n", allowed_models=[MODEL], declared_zdr=True, declared_region="us")
    changed = _patch(kept, item["id"], name=None, allowed_models=None, declared_zdr=None, disabled=True).json()["data"]
    assert changed == item | {"name": None, "allowed_models": None, "declared_zdr": None, "disabled": True}
    assert _patch(kept, item["id"]).json()["data"] == changed
    assert _patch(kept, item["id"], key="another-secret-9876").json()["data"]["label"] == "ano...9876"
    assert _patch(kept, item["id"], allowed_models=[]).json()["data"]["allowed_models"] == []


def test_a_restriction_to_no_key_at_all_is_refused(kept: Server) -> None:
    item = _add(kept)
    for answer in (
        _patch(kept, item["id"], allowed_api_key_hashes=[]),
        kept.manage("POST", "/byok", {"provider": "openai", "key": "x", "allowed_api_key_hashes": []}),
    ):
        assert "allowed_api_key_hashes" in answer.error(400, "invalid_request")["message"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"provider": "opnai"}, "provider"),
        ({"provider": 7}, "provider"),
        ({"key": ""}, "key"),
        ({"key": None}, "key"),
        ({"key": "a\0b"}, "key"),
        ({"key": "   "}, "key"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"disabled": "yes"}, "disabled"),
        ({"workspace_id": str(uuid.uuid4())}, "workspace_id"),
        ({"workspace_id": "a\0b"}, "workspace_id"),
        ({"allowed_models": ["nobody/nothing"]}, "allowed_models"),
        ({"allowed_api_key_hashes": ["0" * 64]}, "allowed_api_key_hashes"),
        ({"allowed_api_key_hashes": ["ABC"]}, "allowed_api_key_hashes"),
        ({"allowed_user_ids": ["a\nb"]}, "allowed_user_ids"),
        ({"declared_region": "mars"}, "declared_region"),
        ({"is_fallback": True, "is_byok_only": True}, "is_byok_only"),
    ],
)
def test_a_wrong_field_is_named(kept: Server, fields: dict[str, Any], field: str) -> None:
    answer = kept.manage("POST", "/byok", {"provider": "openai", "key": _SECRET, **fields})
    assert answer.error(400, "invalid_request")["metadata"]["field"].startswith(field)
    assert _SECRET.encode() not in answer.body


def test_a_mistyped_provider_is_told_the_nearest(kept: Server) -> None:
    message = kept.manage("POST", "/byok", {"provider": "opnai", "key": "x"}).error(400, "invalid_request")["message"]
    assert message == 'provider: the catalog has no provider "opnai"; did you mean "openai"?'


def test_pages_are_filtered_and_counted(kept: Server) -> None:
    made = [_add(kept, provider="voyage")["id"] for _ in range(3)]
    page = kept.manage("GET", "/byok?provider=voyage&limit=2").json()
    assert [one["id"] for one in page["data"]] == made[:2]
    assert page["total_count"] == 3
    assert [one["sort_order"] for one in page["data"]] == [0, 1]
    rest = kept.manage("GET", "/byok?provider=voyage&limit=2&offset=2").json()
    assert [one["id"] for one in rest["data"]] == made[2:]
    assert kept.manage("GET", f"/byok?provider=voyage&workspace_id={uuid.uuid4()}").json()["total_count"] == 0
    for wrong in ("limit=0", "limit=101", "offset=-1", "provider=opnai"):
        kept.manage("GET", f"/byok?{wrong}").error(400, "invalid_request")


def test_what_is_deleted_is_gone(kept: Server) -> None:
    item = _add(kept)
    assert kept.manage("DELETE", f"/byok/{item['id']}").json() == {"deleted": True}
    for method in ("GET", "PATCH", "DELETE"):
        body = {"name": "x"} if method == "PATCH" else None
        kept.manage(method, f"/byok/{item['id']}", body).error(404, "not_found")
    for nothing in ("x", str(uuid.uuid4()), "a%00b"):
        kept.manage("GET", f"/byok/{nothing}").error(404, "not_found")


def test_a_key_that_embeds_sees_nothing(kept: Server) -> None:
    kept.request("GET", "/api/v1/byok", key=KEY).error(403, "permission_denied")


def test_the_secret_is_in_no_log_and_not_in_the_database(managed: Server) -> None:
    secret = f"plain-{uuid.uuid4()}"
    item = _add(managed, key=secret)
    managed.manage("PATCH", f"/byok/{item['id']}", {"key": secret, "disabled": "wrong"}).error(400, "invalid_request")
    managed.manage("DELETE", f"/byok/{item['id']}")
    _add(managed, key=secret)
    for path in managed.folder.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert (managed.data_dir / "secrets.key").stat().st_mode & 0o777 == 0o600


def test_the_first_credential_of_a_provider_opens_its_models_and_the_last_closes_them(tmp_path: Any) -> None:
    with serving(tmp_path, management_key="sk-er-v1-" + "b055" * 16) as server:
        before = server.get("/api/v1/models/count").json()["data"]["count"]
        id_ = _add(server, provider="voyage", allowed_models=["voyage/voyage-3.5"])["id"]
        assert server.get("/api/v1/models/count").json()["data"]["count"] > before
        server.manage("DELETE", f"/byok/{id_}")
        assert server.get("/api/v1/models/count").json()["data"]["count"] == before


def test_a_stored_credential_is_not_sent_to_another_address(kept: Server) -> None:
    """Who may edit the catalog may not read what others sealed by having it sent to himself."""
    item = _add(kept, provider="nomic")
    path = "/catalog/providers/nomic"
    own = {"name": "Nomic", "wire": "nomic", "credential_env": None}
    shipped = kept.manage("GET", path).json()["data"]["entry"]
    elsewhere = kept.manage("PUT", path, {**own, "base_url": "https://collector.example.org/v1"})
    assert elsewhere.status == 409, elsewhere.body
    assert "stored credentials" in elsewhere.json()["error"]["message"]
    renamed = kept.manage("PUT", path, {**shipped, "name": "Renamed"})
    assert renamed.status == 200, renamed.body
    assert kept.manage("DELETE", path).status == 409  # what was stated before may be another address
    assert kept.manage("DELETE", f"/byok/{item['id']}").status == 200
    assert kept.manage("DELETE", path).status == 200
