"""/keys and /key: every field, on both databases."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server import EMBEDDINGS, KEY, MANAGER, MODEL, PICO_PER_TOKEN, Answer, Server, eventually

# Both versions of OpenRouter's own clients need these.
_ITEM = {
    "hash", "name", "label", "disabled", "limit", "limit_remaining", "limit_reset", "include_byok_in_limit",
    "created_at", "updated_at", "creator_user_id", "expires_at", "workspace_id", "usage", "usage_daily", "usage_weekly",
    "usage_monthly", "byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly", "external_user",
    "last_used_at",
}  # fmt: skip
_OURS = {"requests_per_minute", "tokens_per_minute", "max_concurrent", "private", "management"}
_CURRENT = {
    "label", "limit", "limit_remaining", "limit_reset", "include_byok_in_limit", "is_free_tier", "is_management_key",
    "is_provisioning_key", "creator_user_id", "expires_at", "rate_limit", "usage", "usage_daily", "usage_weekly",
    "usage_monthly", "byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly",
    "allowed_data_regions", "budgets", "effective_budget", "free_model_daily_requests", "organization_id",
    "workspace_id",
}  # fmt: skip
_HELLO = 3 * PICO_PER_TOKEN / 1e12  # USD


def _embed(server: Server, key: str) -> Answer:
    return server.request("POST", EMBEDDINGS, {"model": MODEL, "input": "hello"}, key=key)


def _current(server: Server, key: str) -> dict[str, Any]:
    answer = server.request("GET", "/api/v1/key", key=key)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


def _get(server: Server, hash_: str) -> dict[str, Any]:
    found: dict[str, Any] = server.manage("GET", f"/keys/{hash_}").json()["data"]
    return found


def test_a_new_key_is_told_once_and_works(kept: Server) -> None:
    answer = kept.manage("POST", "/keys", {"name": "Ä key ✓"})
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    secret, item = document["key"], document["data"]
    assert re.fullmatch(r"sk-er-v1-[0-9a-f]{64}", secret)
    assert item["hash"] == hashlib.sha256(secret.encode()).hexdigest()
    assert item["label"] == f"{secret[:12]}...{secret[-3:]}"
    assert item["name"] == "Ä key ✓"
    assert set(item) == _ITEM | _OURS
    assert _embed(kept, secret).status == 200
    for path in ("/keys", f"/keys/{item['hash']}"):
        assert secret not in kept.manage("GET", path).body.decode()


def test_a_key_without_fields_has_no_limits(kept: Server) -> None:
    _, item = kept.new_key()
    nothing = _ITEM - {"hash", "name", "label", "created_at", "workspace_id"} | _OURS
    assert {item[name] for name in nothing} == {None, False}
    assert datetime.fromisoformat(item["created_at"]).utcoffset() == timedelta(0)


def test_every_field_is_kept_and_told(kept: Server) -> None:
    given = {
        "limit": 12.5,
        "limit_reset": "weekly",
        "expires_at": "2035-06-01T12:30:00+00:00",
        "include_byok_in_limit": True,
        "external_user": "customer-7",
        "requests_per_minute": 100,
        "tokens_per_minute": 50_000,
        "max_concurrent": 4,
        "private": True,
        "management": True,
    }
    _, item = kept.new_key(**given)
    assert {name: item[name] for name in given} == given | {"expires_at": "2035-06-01T12:30:00.000+00:00"}
    assert item == _get(kept, item["hash"])


def test_a_partners_customer_is_its_external_user(kept: Server) -> None:
    assert kept.new_key(external={"user": "customer-7"})[1]["external_user"] == "customer-7"
    refused = kept.manage("POST", "/keys", {"name": "x", "external": {"user": "u", "api_key": "x" * 40}})
    assert refused.error(400, "invalid_request")["metadata"]["field"] == "external.api_key"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "   "}, "name"),
        ({"limit": -1}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"limit": 5_000_001}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit_reset": "yearly"}, "limit_reset"),
        ({"expires_at": "2035-06-01T12:30:00+02:00"}, "expires_at"),
        ({"expires_at": "2035-06-01T12:30:00"}, "expires_at"),
        ({"expires_at": "1999-06-01T12:30:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59.999999Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 2_000_000_000}, "expires_at"),
        ({"include_byok_in_limit": "yes"}, "include_byok_in_limit"),
        ({"workspace_id": "nowhere"}, "workspace_id"),
        ({"workspace_id": "a\0b"}, "workspace_id"),
        ({"creator_user_id": "nobody"}, "creator_user_id"),
        ({"external_user": "x" * 257}, "external_user"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": 1.5}, "requests_per_minute"),
        ({"tokens_per_minute": -5}, "tokens_per_minute"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"private": 1}, "private"),
        ({"management": "true"}, "management"),
    ],
)
def test_a_wrong_field_is_named(kept: Server, fields: dict[str, Any], field: str) -> None:
    answer = kept.manage("POST", "/keys", {"name": "x", **fields})
    error = answer.error(400, "invalid_request")
    assert error["metadata"]["field"] == field
    assert error["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"name":"x"', '"x"', "{}"])
def test_a_body_that_is_no_key_is_refused(kept: Server, body: str) -> None:
    kept.request("POST", "/api/v1/keys", body, key=MANAGER).error(400, "invalid_request")


def test_a_large_body_is_refused(kept: Server) -> None:
    kept.manage("POST", "/keys", {"name": "x", "other": "y" * 70_000}).error(413, "payload_too_large")


def test_a_change_leaves_what_it_does_not_name_and_removes_what_is_null(kept: Server) -> None:
    _, made = kept.new_key(limit=5, limit_reset="daily", requests_per_minute=7, expires_at="2035-01-01T00:00:00Z")
    path = f"/keys/{made['hash']}"
    assert kept.manage("PATCH", path, {}).json()["data"] == made, "nothing named, nothing changed"
    renamed = kept.manage("PATCH", path, {"name": "renamed"}).json()["data"]
    assert renamed["updated_at"] > made["created_at"]
    assert renamed == made | {"name": "renamed", "updated_at": renamed["updated_at"]}
    gone = {"limit": None, "limit_reset": None, "requests_per_minute": None, "expires_at": None}
    freed = kept.manage("PATCH", path, gone).json()["data"]
    assert freed == renamed | gone | {"limit_remaining": None, "updated_at": freed["updated_at"]}
    given = {"limit": 2.0, "limit_reset": "monthly", "include_byok_in_limit": True, "private": True,
             "tokens_per_minute": 9, "max_concurrent": 2, "external_user": "u"}  # fmt: skip
    changed = kept.manage("PATCH", path, given).json()["data"]
    assert changed == freed | given | {"limit_remaining": 2.0, "updated_at": changed["updated_at"]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"disabled": None}, "disabled"),
        ({"disabled": "true"}, "disabled"),
        ({"limit": "1"}, "limit"),
        ({"limit_reset": "never"}, "limit_reset"),
        ({"expires_at": "1999-01-01T00:00:00Z"}, "expires_at"),
        ({"workspace_id": "nowhere"}, "workspace_id"),
        ({"max_concurrent": 0}, "max_concurrent"),
    ],
)
def test_a_wrong_change_is_named_and_changes_nothing(kept: Server, fields: dict[str, Any], field: str) -> None:
    _, made = kept.new_key()
    answer = kept.manage("PATCH", f"/keys/{made['hash']}", {"private": True, **fields})
    assert answer.error(400, "invalid_request")["metadata"]["field"] == field
    assert _get(kept, made["hash"]) == made


def test_usage_is_told_to_the_last_token_as_soon_as_a_request_is_answered(kept: Server) -> None:
    secret, made = kept.new_key(limit=1, limit_reset="monthly")
    for count in range(1, 4):
        assert _embed(kept, secret).status == 200
        item = _get(kept, made["hash"])
        assert {item[f"usage{which}"] for which in ("", "_daily", "_weekly", "_monthly")} == {count * 15_000 / 1e12}
        assert item["limit_remaining"] == (10**12 - count * 15_000) / 1e12
    assert abs(datetime.fromisoformat(item["last_used_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    current = _current(kept, secret)
    assert {name: current[name] for name in current if name in item} == {
        name: item[name] for name in item if name in current
    }


def test_a_limit_is_never_passed_and_what_is_left_never_negative(kept: Server) -> None:
    """Attack 40."""
    secret, made = kept.new_key(limit=_HELLO * 2)
    assert [_embed(kept, secret).status for _ in range(3)] == [200, 200, 402]
    assert _get(kept, made["hash"])["limit_remaining"] == 0
    lower = kept.manage("PATCH", f"/keys/{made['hash']}", {"limit": _HELLO}).json()["data"]
    assert lower["limit_remaining"] == 0
    kept.manage("PATCH", f"/keys/{made['hash']}", {"limit": _HELLO * 3})
    assert [_embed(kept, secret).status for _ in range(2)] == [200, 402]
    kept.manage("PATCH", f"/keys/{made['hash']}", {"limit": None})
    assert _embed(kept, secret).status == 200


def test_a_limit_of_nothing_lets_nothing_pass(kept: Server) -> None:
    secret, made = kept.new_key(limit=0)
    assert (made["limit"], made["limit_remaining"]) == (0.0, 0.0)
    assert _embed(kept, secret).error(402, "payment_required")["metadata"]["limit"] == "key_limit"


def test_rates_and_concurrency_take_hold_at_once(kept: Server) -> None:
    secret, made = kept.new_key()
    assert _embed(kept, secret).status == 200
    kept.manage("PATCH", f"/keys/{made['hash']}", {"requests_per_minute": 1})
    assert [_embed(kept, secret).status for _ in range(2)] == [200, 429]
    assert _current(kept, secret)["rate_limit"]["requests"] == 1
    assert _current(kept, secret)["rate_limit"]["interval"] == "1m"


def test_disabling_stops_a_key_and_enabling_starts_it_again(kept: Server) -> None:
    secret, made = kept.new_key()
    path = f"/keys/{made['hash']}"
    for disabled, status in ((True, 401), (False, 200)):
        assert kept.manage("PATCH", path, {"disabled": disabled}).json()["data"]["disabled"] is disabled
        assert _embed(kept, secret).status == status


def test_a_key_ends_at_its_time(kept: Server) -> None:
    """Attack 22."""
    secret, made = kept.new_key(expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    assert _embed(kept, secret).status == 200
    eventually(lambda: _embed(kept, secret).status == 401)
    assert "expired" in _embed(kept, secret).error(401, "authentication")["message"]
    for query, there in (("", False), ("?include_expired=true", True)):
        assert (made["hash"] in {key["hash"] for key in _listed(kept, query)}) is there


def test_a_deleted_key_is_gone_but_what_it_spent_is_not(kept: Server) -> None:
    secret, made = kept.new_key()
    generation = _embed(kept, secret).json()["id"]
    before = kept.manage("GET", "/credits").json()["data"]["total_usage"]
    path = f"/keys/{made['hash']}"
    assert kept.manage("DELETE", path).json() == {"deleted": True}
    for method in ("GET", "PATCH", "DELETE"):
        kept.manage(method, path, {"name": "x"} if method == "PATCH" else None).error(404, "not_found")
    assert made["hash"] not in {key["hash"] for key in _listed(kept, "?include_disabled=true")}
    assert kept.manage("GET", f"/generation?id={generation}").status == 200
    assert kept.manage("GET", "/credits").json()["data"]["total_usage"] == before


@pytest.mark.parametrize("hash_", ["x", "0" * 64, "0" * 63, "0" * 65, "G" * 64, "%00"])
def test_an_unknown_hash_is_not_found(kept: Server, hash_: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = kept.manage(method, f"/keys/{hash_}", {"name": "x"} if method == "PATCH" else None)
        answer.error(404, "not_found")


def _listed(server: Server, query: str = "") -> list[dict[str, Any]]:
    answer = server.manage("GET", f"/keys{query}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_keys_are_listed_newest_first_by_pages(kept: Server) -> None:
    made = [kept.new_key(name=f"number {number}")[1] for number in range(5)]
    assert _listed(kept, "?limit=5") == made[::-1]
    assert _listed(kept, "?limit=2&offset=1") == [made[3], made[2]]
    assert _listed(kept, "?offset=1000000") == []
    assert set(_listed(kept)[-1]) == _ITEM | _OURS


def test_disabled_keys_are_listed_where_that_is_asked_for(kept: Server) -> None:
    _, made = kept.new_key()
    kept.manage("PATCH", f"/keys/{made['hash']}", {"disabled": True})
    for query, there in (("", False), ("?include_disabled=false", False), ("?include_disabled=true", True)):
        assert (made["hash"] in {key["hash"] for key in _listed(kept, query)}) is there


def test_keys_are_listed_by_workspace(kept: Server) -> None:
    _, made = kept.new_key()
    assert made in _listed(kept, f"?workspace_id={made['workspace_id']}")
    assert _listed(kept, "?workspace_id=another") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", "offset=x", "include_disabled=1"])
def test_a_wrong_page_is_refused(kept: Server, query: str) -> None:
    told = kept.manage("GET", f"/keys?{query}").error(400, "invalid_request")
    assert query.partition("=")[0] in told["message"]


def test_a_key_sees_itself(kept: Server) -> None:
    secret, made = kept.new_key(limit=3, limit_reset="daily", expires_at="2035-01-01T00:00:00Z")
    found = _current(kept, secret)
    assert set(found) == _CURRENT
    assert found == kept.request("GET", "/api/v1/auth/key", key=secret).json()["data"]
    assert found["label"] == made["label"]
    assert not [name for name in ("is_management_key", "is_provisioning_key", "is_free_tier") if found[name]]
    assert found["rate_limit"]["requests"] == -1
    (budget,) = found["budgets"]
    assert found["effective_budget"] == budget
    assert (budget["scope"], budget["limit_usd"], budget["remaining_usd"]) == ("key_limit", 3.0, 3.0)
    assert budget["reset_interval"] == "daily"
    midnight = datetime.fromisoformat(budget["resets_at"])
    assert timedelta(0) < midnight - datetime.now(UTC) <= timedelta(days=1)
    assert midnight.hour == midnight.minute == 0


def test_a_key_without_limits_has_no_budgets(kept: Server) -> None:
    found = _current(kept, kept.new_key()[0])
    assert (found["budgets"], found["effective_budget"], found["limit_remaining"]) == ([], None, None)


def test_a_management_key_sees_itself_too_and_is_called_one(kept: Server) -> None:
    assert _current(kept, MANAGER)["is_management_key"]
    assert not _current(kept, KEY)["is_management_key"]


def test_a_management_key_can_be_made_and_manages(kept: Server) -> None:
    secret, made = kept.new_key(management=True)
    assert made["management"]
    assert kept.request("GET", "/api/v1/keys", key=secret).status == 200
    _embed(kept, secret).error(403, "permission_denied")
