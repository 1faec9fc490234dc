"""Attacks on the management of keys and on what others own. The numbers are those of the attack list."""

import base64
import secrets
import sqlite3
from urllib.parse import quote

import pytest

from server import EMBEDDINGS, KEY, MANAGER, MODEL, Server

_BODY = {"model": MODEL, "input": "hello"}
_EVIL = [
    "' OR '1'='1",
    "'; DROP TABLE api_keys; --",
    '" OR ""="',
    "%",
    "_" * 64,
    "\\",
    "\0",
    "a\0b",
    "\r\nX-Injected: 1",
    "1; SELECT pg_sleep(5)",
    "../../../etc/passwd",
    "%' UNION SELECT hash FROM api_keys --",
    "\u202e\ud7ff",
]


def _newest(server: Server) -> list[str]:
    return [key["hash"] for key in server.manage("GET", "/keys?include_disabled=true").json()["data"]]


@pytest.mark.parametrize("evil", _EVIL)
def test_19_metacharacters_are_nothing_but_wrong(managed: Server, evil: str) -> None:
    before = _newest(managed)
    sent = quote(evil, safe="")
    for method in ("GET", "PATCH", "DELETE"):
        body = {"name": "x"} if method == "PATCH" else None
        answer = managed.manage(method, f"/keys/{sent}", body)
        assert answer.status in (400, 404), answer.body
        assert evil not in answer.body.decode()
    managed.manage("GET", f"/generation?id={sent}").error(404, "not_found")
    listed = managed.manage("GET", f"/keys?workspace_id={sent}")
    assert listed.status == 400 or listed.json() == {"data": []}, listed.body
    for query in (f"offset={sent}", f"limit={sent}", f"include_disabled={sent}"):
        assert managed.manage("GET", f"/keys?{query}").status == 400
    for field in ("workspace_id", "creator_user_id"):
        managed.manage("POST", "/keys", {"name": "x", field: evil}).error(400, "invalid_request")
    if evil.isascii() and evil.isprintable():
        managed.request("GET", "/api/v1/key", key=evil).error(401, "authentication")
    assert _newest(managed) == before


def test_21_the_same_prefix_with_another_secret_is_a_wrong_key(managed: Server) -> None:
    secret, item = managed.new_key()
    for wrong in (secret[:-1] + ("0" if secret[-1] != "0" else "1"), secret[:-1], secret + "0", item["label"],
                  item["hash"], secret.upper(), MANAGER[:20] + secret[20:]):  # fmt: skip
        for path in ("/api/v1/key", "/api/v1/keys", "/api/v1/credits", "/api/v1/generation?id=x"):
            managed.request("GET", path, key=wrong).error(401, "authentication")


@pytest.mark.parametrize("way", ["disabled", "deleted"])
def test_22_a_revoked_key_opens_nothing_from_the_next_request_on(managed: Server, way: str) -> None:
    for _ in range(20):
        secret, item = managed.new_key()
        assert managed.request("POST", EMBEDDINGS, _BODY, key=secret).status == 200
        if way == "disabled":
            assert managed.manage("PATCH", f"/keys/{item['hash']}", {"disabled": True}).status == 200
        else:
            assert managed.manage("DELETE", f"/keys/{item['hash']}").status == 200
        managed.request("POST", EMBEDDINGS, _BODY, key=secret).error(401, "authentication")
        managed.request("GET", "/api/v1/key", key=secret).error(401, "authentication")


@pytest.mark.parametrize("path", ["/keys", "/key", "/auth/key", "/credits", "/credits/ledger", "/generation?id=x"])
def test_23_a_key_is_taken_from_the_authorization_header_alone_and_never_repeated(managed: Server, path: str) -> None:
    separator = "&" if "?" in path else "?"
    basic = base64.b64encode(f"x:{MANAGER}".encode()).decode()
    for query, headers in (
        *((f"{separator}{name}={MANAGER}", {}) for name in ("key", "api_key", "access_token", "authorization")),
        ("", {"Authorization": f"Basic {basic}"}),
        ("", {"Authorization": MANAGER}),
        ("", {"Authorization": f"Token {MANAGER}"}),
        ("", {"Cookie": f"Authorization=Bearer {MANAGER}; key={MANAGER}"}),
        ("", {"X-API-Key": MANAGER}),
    ):
        answer = managed.request("GET", f"/api/v1{path}{query}", headers=headers)
        answer.error(401, "authentication")
        assert MANAGER not in answer.body.decode() + str(answer.headers)
    assert MANAGER not in managed.output()


def test_23_two_authorization_headers_are_no_way_in(managed: Server) -> None:
    for first, second in ((KEY, MANAGER), (MANAGER, KEY), (MANAGER, MANAGER)):
        lines = ("GET /api/v1/keys HTTP/1.1", "Host: test", f"Authorization: Bearer {first}",
                 f"Authorization: Bearer {second}", "Connection: close", "", "")  # fmt: skip
        (answer,) = managed.raw("\r\n".join(lines).encode())
        assert answer.status in (400, 401)


_ASSIGNED = {
    "hash": "f" * 64,
    "key": "sk-er-v1-" + "1" * 64,
    "secret": "sk-er-v1-" + "1" * 64,
    "label": "mine",
    "usage": 1000.0,
    "usage_daily": 1000.0,
    "limit_remaining": 1e6,
    "source": "environment",
    "owner_id": "nobody",
    "owner": "nobody",
    "created_at": "1999-01-01T00:00:00Z",
    "updated_at": "1999-01-01T00:00:00Z",
    "deleted_at": 1,
    "last_used_at": "1999-01-01T00:00:00Z",
    "revision": 0,
    "id": 1,
    "limit_pico": 1,
    "is_management_key": True,
}


def test_25_a_new_key_takes_nothing_that_is_not_its_callers_to_say(managed: Server) -> None:
    secret, item = managed.new_key(**_ASSIGNED)
    plain_secret, plain = managed.new_key()
    assert secret != _ASSIGNED["key"]
    differ = {name for name in item if item[name] != plain[name]}
    assert differ == {"hash", "label", "created_at"}
    assert item["hash"] != _ASSIGNED["hash"]
    assert item["label"] != "mine"
    assert item["created_at"] > "2000"
    assert managed.request("GET", "/api/v1/keys", key=secret).status == 403
    managed.request("GET", "/api/v1/key", key=str(_ASSIGNED["key"])).error(401, "authentication")
    assert managed.request("GET", "/api/v1/key", key=plain_secret).status == 200


def test_25_a_change_takes_nothing_that_is_not_its_callers_to_say(managed: Server) -> None:
    secret, item = managed.new_key()
    changed = managed.manage("PATCH", f"/keys/{item['hash']}", {**_ASSIGNED, "management": True}).json()["data"]
    assert changed == item
    after = managed.manage("PATCH", f"/keys/{item['hash']}", {**_ASSIGNED, "management": True, "name": "new"})
    assert {name for name, value in after.json()["data"].items() if value != item[name]} == {"name", "updated_at"}
    assert managed.request("GET", "/api/v1/keys", key=secret).status == 403


def test_26_nobody_sees_the_generations_of_others(managed: Server) -> None:
    mine, _ = managed.new_key()
    other, _ = managed.new_key()
    generation = managed.request("POST", EMBEDDINGS, _BODY, key=mine).json()["id"]
    for path in (f"/api/v1/generation?id={generation}", f"/api/v1/generation/content?id={generation}"):
        refused = managed.request("GET", path, key=other)
        missing = managed.request("GET", path.replace(generation, generation[:-3] + "000"), key=other)
        refused.error(404, "not_found")
        assert refused.body == missing.body, "who asks for another's generation must not learn that it exists"
    for key in (mine, MANAGER):
        assert managed.request("GET", f"/api/v1/generation?id={generation}", key=key).status == 200


def test_26_keys_of_one_owner_see_each_others_generations_and_no_more(managed: Server) -> None:
    owner, stranger = (_user(managed) for _ in range(2))
    first, _ = managed.new_key(creator_user_id=owner)
    second, item = managed.new_key(creator_user_id=owner)
    foreign, _ = managed.new_key(creator_user_id=stranger)
    assert item["creator_user_id"] == owner
    generation = managed.request("POST", EMBEDDINGS, _BODY, key=first).json()["id"]
    path = f"/api/v1/generation?id={generation}"
    assert [managed.request("GET", path, key=key).status for key in (first, second, foreign, KEY)] == [
        200, 200, 404, 404,
    ]  # fmt: skip


def test_26_a_key_sees_and_changes_no_key_but_reads_itself(managed: Server) -> None:
    secret, item = managed.new_key(name="mine")
    _, other = managed.new_key(name="another's")
    for hash_ in (item["hash"], other["hash"]):
        for method in ("GET", "PATCH", "DELETE"):
            body = '{"limit": null, "disabled": false}' if method == "PATCH" else None
            managed.request(method, f"/api/v1/keys/{hash_}", body, key=secret).error(403, "permission_denied")
    seen = managed.request("GET", "/api/v1/key", key=secret).json()["data"]
    assert seen["label"] == item["label"]


def _user(server: Server) -> str:
    """A user, put into the database by hand: this test is about keys."""
    user = f"user-{secrets.token_hex(8)}"
    with sqlite3.connect(server.data_dir / "embedrouter.db", timeout=10) as connection:
        connection.execute(
            "INSERT INTO users (id, email, name, password_hash, role, disabled, created_at, updated_at)"
            " VALUES (?, ?, 'x', 'x', 'member', 0, 0, 0)",
            (user, f"{user}@example.com"),
        )
    connection.close()
    return user
