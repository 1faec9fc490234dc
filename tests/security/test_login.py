"""People's accounts over HTTP: guessing, stealing, overreaching. The numbers are those of the attack list."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from embedrouter.api.session import internal_routes
from embedrouter.web.routes import web_routes
from security.people import PASSWORD, Browser, office, setup_token
from server import EMBEDDINGS, MODEL, Answer, Server, serving

_COOKIE = "embedrouter_session"
# Those of a model's page.
_TABS = ("", "/providers", "/performance", "/pricing", "/apps", "/activity", "/uptime", "/api")
ACCESS = {
    ("POST", "/api/internal/session"): "public",
    ("GET", "/api/internal/session"): "session",
    ("DELETE", "/api/internal/session"): "session",
    ("GET", "/api/internal/sessions"): "session",
    ("DELETE", "/api/internal/sessions"): "session",
    ("DELETE", "/api/internal/sessions/{id}"): "session",
    ("POST", "/api/internal/password"): "session",
    ("GET", "/api/internal/users"): "admin",
    ("PATCH", "/api/internal/users/{id}"): "admin",
    ("DELETE", "/api/internal/users/{id}"): "admin",
    ("POST", "/api/internal/invites"): "admin",
    ("POST", "/api/internal/setup"): "public",
    ("POST", "/api/internal/embeddings"): "session",
    ("GET", "/api/internal/batches/{id}/results"): "session",
    ("POST", "/api/internal/tokens"): "session",
    ("GET", "/login"): "public",
    ("POST", "/login"): "public",
    ("POST", "/logout"): "public",
    ("GET", "/setup"): "public",
    ("POST", "/setup"): "public",
    ("GET", "/account"): "session",
    ("POST", "/account/password"): "session",
    ("POST", "/account/sessions"): "session",
    ("POST", "/account/sessions/{id}"): "session",
    ("POST", "/account/invites"): "admin",
    ("POST", "/account/users/{id}"): "admin",
    ("GET", "/assets/{id}"): "public",
    ("GET", "/"): "public",
    ("GET", "/search.json"): "public",
    ("GET", "/rankings"): "public",
    ("GET", "/apps"): "public",
    ("GET", "/providers"): "public",
    ("GET", "/providers/{id}"): "public",
    ("GET", "/pricing"): "public",
    ("GET", "/status"): "public",
    ("GET", "/status.json"): "public",
    ("POST", "/theme"): "public",
    ("GET", "/models"): "public",
    ("GET", "/models/{id}/{id}"): "public",
    **{("GET", f"/{{id}}/{{id}}{tab}"): "public" for tab in _TABS},
    ("GET", "/reset"): "public",
    ("POST", "/reset"): "public",
    ("GET", "/dashboard/credentials"): "session",
    ("POST", "/dashboard/credentials"): "admin",
    ("GET", "/dashboard/credentials/{id}"): "admin",
    ("POST", "/dashboard/credentials/{id}"): "admin",
    ("POST", "/dashboard/credentials/{id}/do"): "admin",
    ("GET", "/dashboard/credentials/{id}/delete"): "admin",
    ("POST", "/dashboard/credentials/{id}/delete"): "admin",
    ("POST", "/dashboard/credentials/endpoints"): "admin",
    ("GET", "/dashboard/credentials/endpoints/{id}"): "admin",
    ("POST", "/dashboard/credentials/endpoints/{id}"): "admin",
    ("GET", "/dashboard/credentials/endpoints/{id}/delete"): "admin",
    ("POST", "/dashboard/credentials/endpoints/{id}/delete"): "admin",
    ("GET", "/dashboard/routing"): "session",
    ("POST", "/dashboard/routing"): "admin",
    ("POST", "/dashboard/routing/budgets"): "admin",
    ("POST", "/dashboard/routing/presets"): "admin",
    ("GET", "/dashboard/routing/presets/{id}"): "session",
    ("GET", "/dashboard/routing/presets/{id}/delete"): "admin",
    ("POST", "/dashboard/routing/presets/{id}/delete"): "admin",
    ("POST", "/dashboard/routing/guardrails"): "admin",
    ("GET", "/dashboard/routing/guardrails/{id}"): "session",
    ("POST", "/dashboard/routing/guardrails/{id}"): "admin",
    ("POST", "/dashboard/routing/guardrails/{id}/keys"): "admin",
    ("GET", "/dashboard/routing/guardrails/{id}/delete"): "admin",
    ("POST", "/dashboard/routing/guardrails/{id}/delete"): "admin",
    ("GET", "/dashboard/members"): "session",
    ("GET", "/dashboard/settings"): "session",
    ("POST", "/dashboard/settings"): "admin",
    ("GET", "/dashboard/users"): "admin",
    ("POST", "/dashboard/users"): "admin",
    ("GET", "/dashboard/users/{id}"): "admin",
    ("POST", "/dashboard/users/{id}"): "admin",
    ("GET", "/dashboard/users/{id}/delete"): "admin",
    ("POST", "/dashboard/users/{id}/delete"): "admin",
    ("GET", "/dashboard/system"): "admin",
    ("POST", "/dashboard/system/doctor"): "admin",
    ("GET", "/dashboard/catalog"): "admin",
    ("GET", "/dashboard/catalog/edit"): "admin",
    ("POST", "/dashboard/catalog/edit"): "admin",
    ("GET", "/dashboard/catalog/remove"): "admin",
    ("POST", "/dashboard/catalog/remove"): "admin",
    ("GET", "/dashboard/incidents"): "admin",
    ("GET", "/dashboard"): "session",
    ("GET", "/dashboard/keys"): "session",
    ("GET", "/dashboard/keys/new"): "session",
    ("POST", "/dashboard/keys"): "session",
    ("GET", "/dashboard/keys/{id}"): "session",
    ("POST", "/dashboard/keys/{id}"): "session",
    ("POST", "/dashboard/keys/{id}/state"): "session",
    ("GET", "/dashboard/credits"): "session",
    ("POST", "/dashboard/credits"): "admin",
    ("GET", "/dashboard/activity"): "session",
    ("GET", "/dashboard/activity.csv"): "session",
    ("GET", "/dashboard/logs"): "session",
    ("GET", "/dashboard/logs/{id}"): "session",
    ("GET", "/dashboard/batches"): "session",
    ("GET", "/dashboard/batches/{id}"): "session",
    ("POST", "/dashboard/batches/{id}/cancel"): "session",
    ("GET", "/dashboard/batches/{id}/delete"): "session",
    ("POST", "/dashboard/batches/{id}/delete"): "session",
    ("GET", "/playground"): "public",
    ("POST", "/playground"): "public",
    ("GET", "/docs"): "public",
    ("GET", "/docs/{id}"): "public",
    ("GET", "/docs/reference"): "public",
    ("GET", "/docs/reference/{id}"): "public",
    ("GET", "/llms.txt"): "public",
    ("GET", "/llms-full.txt"): "public",
}


@pytest.fixture(scope="module")
def admin() -> Browser:
    return office()


@pytest.fixture
def member(admin: Browser) -> Browser:
    return admin.invites()


# --- 24: guessing


def test_24_guesses_are_throttled_before_the_password_is_looked_at(admin: Browser, member: Browser) -> None:
    answers = [Browser(admin.server, member.email).log_in(f"guess {number}") for number in range(5)]
    assert {answer.status for answer in answers} == {401}
    refused = Browser(admin.server, member.email).log_in()
    assert "try again in" in refused.error(429, "rate_limit_exceeded")["message"]
    assert int(refused.headers["retry-after"]) >= 1
    assert member.user, "who is signed in already stays so"


def test_24_one_address_may_not_try_many_names(admin: Browser, member: Browser) -> None:
    thief = Browser(admin.server)
    statuses = [thief.post("/session", email=f"{number}@x.org", password="guess").status for number in range(20)]
    assert set(statuses) == {401}
    assert thief.post("/session", email=member.email, password=PASSWORD).status == 429
    assert Browser(admin.server, member.email).log_in().status == 200


def test_24_an_unknown_name_a_wrong_password_and_a_disabled_user_are_answered_alike(
    admin: Browser, member: Browser
) -> None:
    disabled = admin.invites()
    assert _patch(admin, disabled, disabled=True).status == 200

    def seen(answer: Answer) -> tuple[int, bytes, frozenset[str]]:
        return answer.status, answer.body, frozenset(answer.headers)

    answers = [
        Browser(admin.server, email).log_in(password)
        for email, password in (
            (member.email, "wrong"),
            ("nobody@example.org", PASSWORD),
            (disabled.email, PASSWORD),
            (disabled.email, "wrong"),
            ("no email at all", PASSWORD),
            ("nul\0@example.org", PASSWORD),
        )
    ]
    assert len({seen(answer) for answer in answers}) == 1
    assert "email or the password" in answers[0].error(401, "authentication")["message"]
    pages = [
        Browser(admin.server).form("/login", email=email, password=PASSWORD + "?")
        for email in (member.email, disabled.email, "nobody@example.org")
    ]
    texts = {re.sub(r'name="email" value="[^"]*"', "", page.body.decode()) for page in pages}
    assert {page.status for page in pages} == {401}
    assert len(texts) == 1


def test_24_a_stolen_session_cannot_guess_the_password(admin: Browser, member: Browser) -> None:
    wrong = {"current_password": "wrong", "new_password": PASSWORD + "!"}
    statuses = [member.post("/password", **wrong).status for _ in range(6)]
    assert statuses == [400] * 5 + [429]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"\xff", b'{"email": "a@b"}', b'{"email": 1, "password": 2}', b"[" * 5000, b" " * 20_000,
     b'{"email": "\\ud800@b", "password": "x"}', b'{"email": "a@b", "password": "x", "role": "admin"}'],
)  # fmt: skip
def test_wrong_bodies_are_told_apart_from_wrong_passwords(admin: Browser, body: bytes) -> None:
    answer = Browser(admin.server).send("POST", "/api/internal/session", body)
    assert answer.status in (400, 413)
    assert answer.json()["error"]["code"] == answer.status


# --- 25: roles


def test_25_every_route_has_its_rule() -> None:
    found = {}
    for router in (internal_routes(), web_routes()):
        for route in router.routes:
            for handler in getattr(route, "route_handlers", ()):
                for method in handler.http_methods - {"OPTIONS"}:
                    path = re.sub(r"\{[^}]*\}", "{id}", route.path)
                    found[str(method), path] = handler.opt.get("access")
    assert found == ACCESS


@pytest.mark.parametrize(("method", "path"), [key for key, access in ACCESS.items() if access != "public"], ids=str)
def test_25_who_is_not_signed_in_gets_nowhere(admin: Browser, method: str, path: str) -> None:
    for cookies in ({}, {_COOKIE: "x" * 43}, {_COOKIE: ""}, {_COOKIE: admin.server.key}):
        nobody = Browser(admin.server)
        nobody.cookies = cookies
        answer = nobody.send(method, path.replace("{id}", "user_x"), b"{}")
        if path.startswith("/api/"):
            answer.error(401, "authentication")
        else:
            target = path.replace("{id}", "user_x") if method == "GET" else "/dashboard"
            assert (answer.status, answer.headers["location"]) == (303, f"/login?next={target}")


def test_25_members_do_nothing_of_administrators(admin: Browser, member: Browser) -> None:
    for (method, path), access in ACCESS.items():
        if access == "admin":
            answer = member.send(method, path.replace("{id}", admin.user["id"]), b"{}")
            assert answer.status == 403, (method, path)
    assert b"Users" not in member.get("/account").body
    assert admin.user["role"] == "admin"


def test_25_no_field_makes_an_administrator(admin: Browser, member: Browser) -> None:
    url = admin.post("/invites", role="member").json()["url"]
    token = url.partition("token=")[2]
    person = Browser(admin.server)
    fields = {"token": token, "email": person.email, "password": PASSWORD}
    for more in ({"role": "admin"}, {"id": "user_x"}, {"disabled": False}):
        assert person.post("/setup", **fields, **more).status == 400
    assert person.form("/setup", **fields, role="admin").status == 303
    assert person.user["role"] == "member"
    assert member.post("/password", current_password=PASSWORD, new_password=PASSWORD, role="admin").status == 400
    for wrong in ({"id": "user_x"}, {"email": "x@y"}, {"password_hash": "x"}, {"role": "owner"}, {"disabled": 1}, {}):
        assert _patch(admin, member, **wrong).status == 400, wrong
    assert member.user["role"] == "member"


def test_25_a_lost_role_is_lost_at_once(admin: Browser) -> None:
    other = admin.invites("admin")
    assert other.get("/api/internal/users").status == 200
    assert _patch(admin, other, role="member").status == 200
    assert other.get("/api/internal/users").status == 403
    assert _patch(admin, other, disabled=True).status == 200
    assert other.user == {}


def test_25_the_last_administrator_cannot_lock_everybody_out(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        last = _set_up(server)
        for answer in (_patch(last, last, role="member"), _patch(last, last, disabled=True)):
            assert "last administrator" in answer.error(409, "conflict")["message"]
        last.send("DELETE", f"/api/internal/users/{last.user['id']}").error(409, "conflict")
        assert last.form(f"/account/users/{last.user['id']}", action="delete").status == 409


# --- 23: keys and sessions do not stand in for each other


def test_23_no_key_opens_the_pages_and_no_session_the_api(admin: Browser) -> None:
    nobody = Browser(admin.server)
    for path in ("/api/internal/session", "/api/internal/users"):
        nobody.send("GET", path, key=admin.server.key).error(401, "authentication")
    answer = admin.send("POST", EMBEDDINGS, {"model": MODEL, "input": "hello"})
    answer.error(401, "authentication")
    token = admin.cookies[_COOKIE]
    admin.server.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x"}, key=token).error(401, "authentication")


# --- 26: other people's things


def test_26_other_peoples_sessions_are_neither_seen_nor_ended(admin: Browser, member: Browser) -> None:
    victim = admin.invites()
    (session,) = victim.get("/api/internal/sessions").json()["data"]
    assert session["id"] not in member.get("/api/internal/sessions").body.decode()
    for id_ in (session["id"], "sess_x", "%00", "..", "%2e%2e", "' OR 1=1 --".replace(" ", "%20"), "%ff"):
        answer = member.send("DELETE", f"/api/internal/sessions/{id_}")
        assert answer.status in (400, 404), id_
        assert member.form(f"/account/sessions/{id_}").status in (400, 404), id_
    assert victim.user["email"] == victim.email


# --- 27: sessions


def test_27_a_login_gives_a_new_token_and_ends_the_one_before(admin: Browser, member: Browser) -> None:
    fixed = "A" * 43
    person = Browser(admin.server, member.email)
    person.cookies[_COOKIE] = fixed
    assert person.log_in().status == 200
    first = person.cookies[_COOKIE]
    assert first != fixed
    assert person.log_in().status == 200
    assert person.cookies[_COOKIE] != first
    thief = Browser(admin.server)
    for token in (fixed, first):
        thief.cookies[_COOKIE] = token
        assert thief.user == {}


def test_27_the_cookie_is_httponly_lax_and_for_the_whole_site(admin: Browser, member: Browser) -> None:
    header = Browser(admin.server, member.email).log_in().headers["set-cookie"]
    name, *attributes = header.split("; ")
    assert name.startswith(f"{_COOKIE}=")
    assert {one.lower() for one in attributes} == {"httponly", "samesite=lax", "path=/", "max-age=2592000"}


def test_27_over_https_the_cookie_is_secure_and_bound_to_the_host(admin: Browser, member: Browser) -> None:
    person = Browser(admin.server, member.email)
    person.site["X-Forwarded-Proto"] = "https"
    header = person.log_in().headers["set-cookie"]
    assert header.startswith("__Host-embedrouter=")
    assert {"secure", "httponly", "path=/", "samesite=lax"} <= {one.lower() for one in header.split("; ")}
    assert "domain" not in header.lower()
    assert person.user["email"] == member.email
    person.cookies = {_COOKIE: person.cookies["__Host-embedrouter"]}
    assert person.user == {}, "a cookie that a neighbouring host could have set is not looked at"


def test_27_signing_out_ends_the_session_not_only_the_cookie(admin: Browser, member: Browser) -> None:
    for leave in ("page", "api"):
        person = member.twin()
        token = dict(person.cookies)
        if leave == "page":
            assert person.form("/logout").headers["location"] == "/login"
        else:
            assert person.send("DELETE", "/api/internal/session").status == 204
        assert person.cookies == {}
        person.cookies = token
        assert person.user == {}
    assert member.user


def test_27_a_new_password_ends_the_other_sessions(member: Browser) -> None:
    other = member.twin()
    new = "a different horse battery"
    assert member.post("/password", current_password=PASSWORD, new_password=new).status == 204
    assert member.user
    assert other.user == {}
    assert other.log_in().status == 401
    assert other.log_in(new).status == 200
    page = member.form("/account/password", current_password=new, new_password=PASSWORD)
    assert b"is changed" in page.body
    assert other.user == {}


def test_27_sessions_are_listed_and_ended(member: Browser) -> None:
    others = [member.twin() for _ in range(3)]
    listed = member.get("/api/internal/sessions").json()["data"]
    assert sorted(one["current"] for one in listed) == [False, False, False, True]
    mine = next(one["id"] for one in others[0].get("/api/internal/sessions").json()["data"] if one["current"])
    assert member.send("DELETE", f"/api/internal/sessions/{mine}").status == 204
    assert [bool(other.user) for other in others] == [False, True, True]
    assert member.send("DELETE", "/api/internal/sessions").json() == {"ended": 2}
    assert not any(other.user for other in others)
    assert member.user


def test_27_no_token_is_in_any_answer_or_log(admin: Browser, member: Browser) -> None:
    bodies = [
        member.get(path).body.decode() for path in ("/account", "/api/internal/sessions", "/api/internal/session")
    ]
    bodies.append(admin.get("/account").body.decode())
    bodies.append(admin.server.output())
    for secret in (member.cookies[_COOKIE], admin.cookies[_COOKIE], PASSWORD, "argon2"):
        assert not any(secret in body for body in bodies)


# --- the first administrator


def _set_up(server: Server) -> Browser:
    person = Browser(server)
    answer = person.form("/setup", token=setup_token(server) or "", email=person.email, password=PASSWORD)
    assert (answer.status, answer.headers.get("location")) == (303, "/dashboard")
    return person


def test_48_the_setup_link_works_once_and_a_new_start_voids_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        old = setup_token(server)
        assert old is not None
        assert server.get(f"/setup?token={old}").status == 200
    with serving(tmp_path) as server:
        assert setup_token(server) != old
        person = Browser(server)
        fields = {"email": person.email, "password": PASSWORD}
        assert person.form("/setup", token=old, **fields).status == 404
        assert server.get(f"/setup?token={old}").status == 404
        first = _set_up(server)
        assert first.user["role"] == "admin"
        assert person.form("/setup", token=setup_token(server) or "", **fields).status == 404
    with serving(tmp_path) as server:
        assert setup_token(server) is None, "there is an administrator"
        assert first.email not in server.output()
        again = Browser(server, first.email)
        assert again.log_in().status == 200


def test_48_the_setup_link_expires(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        token = setup_token(server)
        with closing(sqlite3.connect(server.data_dir / "embedrouter.db")) as connection, connection:
            (kept,) = connection.execute("SELECT token_hash FROM invites").fetchall()
            assert token not in kept
            connection.execute("UPDATE invites SET expires_at = expires_at - 24 * 3600 * 1000000")
        answer = server.get(f"/setup?token={token}")
        assert answer.status == 404
        assert b"older than 24 hours" in answer.body
        person = Browser(server)
        person.post("/setup", token=token, email=person.email, password=PASSWORD).error(404, "not_found")


def test_48_there_is_no_default_password(admin: Browser) -> None:
    for email in ("admin", "admin@example.org", "root@localhost", admin.email):
        for password in ("admin", "password", "embedrouter"):
            assert Browser(admin.server, email).log_in(password).status == 401


@pytest.mark.parametrize("token", ["", "x", "%00", "x" * 5000, "' OR 1=1 --"])
def test_other_tokens_set_up_nothing(admin: Browser, token: str) -> None:
    answer = Browser(admin.server).form("/setup", token=token, email="a@b", password=PASSWORD)
    assert answer.status == 404
    assert token == "" or len(token) < 2 or token not in answer.body.decode()


# --- links and proxies


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A server that people reach at an address of its own over https; nothing that a client says is believed."""
    with serving(tmp_path_factory.mktemp("public"), public_url="https://embed.example.org/") as server:
        assert "https://embed.example.org/setup?token=" in server.output()
        yield _set_up(server)


def test_06_links_name_the_configured_address_whatever_host_is_sent(public: Browser) -> None:
    answer = public.send("POST", "/api/internal/invites", {"role": "member"}, {"Host": "evil.example.net"})
    assert answer.json()["url"].startswith("https://embed.example.org/setup?token=")
    assert list(public.cookies) == ["__Host-embedrouter"]


def test_24_a_forwarded_address_is_not_believed_unless_the_settings_say_so(public: Browser) -> None:
    for number in range(2):
        assert Browser(public.server, f"{number}@x.org").log_in("wrong").status == 401
    with closing(sqlite3.connect(public.server.data_dir / "embedrouter.db")) as connection:
        (subjects,) = connection.execute("SELECT count(*) FROM login_failures").fetchone()
    assert subjects == 3, "two names and one address"


def _patch(admin: Browser, person: Browser, **fields: object) -> Answer:
    return admin.send("PATCH", f"/api/internal/users/{person.user.get('id')}", fields)
