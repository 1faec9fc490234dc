"""The dashboard's pages for administrators, and what members see of the shared ones."""

import re
from html import unescape
from typing import Final

import pytest

from security.people import PASSWORD, Browser
from server import MANAGER
from web.desk import HOSTILE, alert, desk, went_to, wrong_fields

_SHARED: Final = ("credentials", "routing", "members", "settings")
_ADMIN: Final = ("users", "system", "catalog", "incidents")
_NEW_PASSWORD: Final = "another horse battery staple"


@pytest.fixture(scope="module")
def admin() -> Browser:
    return desk()


@pytest.fixture(scope="module")
def member(admin: Browser) -> Browser:
    return admin.invites()


def _link(answer_body: bytes, path: str) -> str:
    found = re.search(rf"http[^<\"]*{path}\?token=[\w-]+", unescape(answer_body.decode()))
    assert found, "no link is shown"
    return found[0]


@pytest.mark.parametrize("name", [*_SHARED, *_ADMIN])
def test_each_page_is_open_to_whom_it_is_for(admin: Browser, member: Browser, name: str) -> None:
    path = f"/dashboard/{name}"
    assert admin.get(path).status == 200
    assert member.get(path).status == (200 if name in _SHARED else 403)
    nobody = Browser(admin.server).get(path)
    assert (nobody.status, nobody.headers["location"]) == (303, f"/login?next={path}")


@pytest.mark.parametrize("name", [*_SHARED, *_ADMIN])
def test_no_page_tells_a_secret(admin: Browser, member: Browser, name: str) -> None:
    secrets = (admin.server.key, MANAGER, "A" * 43, PASSWORD, *admin.cookies.values(), "$argon2")
    for body in (admin.get(f"/dashboard/{name}?rows=1").body.decode(), member.get(f"/dashboard/{name}").body.decode()):
        assert [secret for secret in secrets if secret in body] == []


@pytest.mark.parametrize("name", _SHARED)
def test_members_are_shown_no_form_that_they_may_not_send(member: Browser, name: str) -> None:
    main = member.get(f"/dashboard/{name}").body.decode().partition("<main")[2].partition("</main>")[0]
    assert 'method="post"' not in main


def test_members_learn_names_and_no_addresses_of_others(admin: Browser, member: Browser) -> None:
    page = member.get("/dashboard/members").body.decode()
    assert admin.email not in page
    assert admin.email.partition("@")[0] in page
    assert member.email in page


def test_somebody_is_invited_by_a_link_that_is_shown_once(admin: Browser) -> None:
    link = _link(admin.form("/dashboard/users", role="member").body, "/setup")
    assert link.rpartition("=")[2] not in admin.get("/dashboard/users").body.decode()
    assert Browser(admin.server).get(f"/setup?{link.partition('?')[2]}").status == 200
    assert admin.form("/dashboard/users", role="owner").status == 400


def test_a_forgotten_password_is_replaced_by_a_link_once(admin: Browser) -> None:
    person = admin.invites()
    path = f"/dashboard/users/{person.user['id']}"
    void = _link(admin.form(path, action="reset").body, "/reset").partition("token=")[2]
    token = _link(admin.form(path, action="reset").body, "/reset").partition("token=")[2]
    stranger = Browser(admin.server)
    assert stranger.get(f"/reset?token={void}").status == 404, "the newer link replaced it"
    assert stranger.get(f"/setup?token={token}").status == 404, "it makes no user"
    assert person.email.encode() in stranger.get(f"/reset?token={token}").body
    short = stranger.form("/reset", token=token, password="short")
    assert (short.status, "password" in alert(short).lower()) == (400, True)
    assert went_to(stranger.form("/reset", token=token, password=_NEW_PASSWORD)) == "/login"
    assert person.user == {}, "he is signed out everywhere"
    assert person.log_in().status == 401
    assert person.log_in(_NEW_PASSWORD).status == 200
    assert stranger.form("/reset", token=token, password=_NEW_PASSWORD).status == 404


def test_a_reset_link_of_who_is_disabled_opens_nothing(admin: Browser) -> None:
    person = admin.invites()
    path = f"/dashboard/users/{person.user['id']}"
    token = _link(admin.form(path, action="reset").body, "/reset").partition("token=")[2]
    went_to(admin.form(path, action="disable"))
    assert Browser(admin.server).form("/reset", token=token, password=_NEW_PASSWORD).status == 404


def test_users_are_changed_and_deleted_by_page(admin: Browser) -> None:
    person = admin.invites()
    id_ = person.user["id"]
    path = f"/dashboard/users/{id_}"
    went_to(admin.form(path, action="rename", name=HOSTILE))
    went_to(admin.form(path, action="promote"))
    assert person.user["role"] == "admin"
    went_to(admin.form(path, action="demote"))
    assert person.get("/dashboard/users").status == 403
    page = admin.get(path).body.decode()
    assert "<script>alert" not in page + admin.get("/dashboard/users").body.decode()
    session = re.search(r'name="session" value="([^"]+)"', page)
    assert session
    went_to(admin.form(path, action="end", session=session[1]))
    assert person.user == {}
    assert admin.get(f"{path}/delete").status == 200
    assert went_to(admin.form(f"{path}/delete")) == "/dashboard/users"
    assert admin.get(path).status == 404


def test_the_last_administrator_stays_and_is_told_why(admin: Browser) -> None:
    path = f"/dashboard/users/{admin.user['id']}"
    for answer in (
        admin.form(path, action="demote"),
        admin.form(path, action="disable"),
        admin.form(f"{path}/delete"),
    ):
        assert (answer.status, "last administrator" in alert(answer)) == (409, True)
    assert admin.user["role"] == "admin"


def test_the_processs_settings_are_told_and_its_secrets_are_not(admin: Browser, member: Browser) -> None:
    page = admin.get("/dashboard/settings").body.decode()
    for told in ("EMBEDROUTER_RESPONSE_CACHE_MIB", "EMBEDROUTER_KEEP_PROMPTS_DAYS", str(admin.server.data_dir)):
        assert told in page
    assert page.count("<code>***</code>") == 3, "the two keys, and what seals credentials"
    shown = member.get("/dashboard/settings").body.decode()
    assert "EMBEDROUTER_VECTOR_CACHE_MIB" in shown
    assert str(admin.server.data_dir) not in shown


def test_a_workspace_is_changed_by_page(admin: Browser) -> None:
    made = admin.server.manage("POST", "/workspaces", {"name": HOSTILE, "slug": "desk-ws"}).json()["data"]
    try:
        page = admin.get("/dashboard/settings?workspace=desk-ws").body.decode()
        assert "<script>alert" not in page
        went_to(admin.form("/dashboard/settings", workspace=made["id"], name="Renamed", slug="desk-ws"))
        now = admin.server.manage("GET", f"/workspaces/{made['id']}").json()["data"]
        assert (now["name"], now["in_rankings"]) == ("Renamed", False)
        wrong = admin.form("/dashboard/settings", workspace=made["id"], name="Renamed", slug="Not A Slug")
        assert wrong_fields(wrong) == ["slug"]
        assert 'value="Not A Slug"' in wrong.body.decode()
        assert admin.get("/dashboard/settings?workspace=nothing").status == 404
    finally:
        admin.server.manage("DELETE", f"/workspaces/{made['id']}")


def test_the_doctor_examines_the_books_on_demand(admin: Browser) -> None:
    assert admin.server.embed("a text").status == 200
    assert went_to(admin.form("/dashboard/system/doctor")) == "/dashboard/system#doctor"
    page = admin.get("/dashboard/system").body.decode()
    assert re.search(r"Clean: [\d,]+ generations", page)
    assert "generations</th>" in admin.get("/dashboard/system?rows=1").body.decode()


def test_without_incidents_the_page_says_so(admin: Browser) -> None:
    assert "No incident in the last three days" in admin.get("/dashboard/incidents").body.decode()
