"""What other sites could make a browser do, and how pages are shown. The numbers are those of the attack list."""

import json
import re
from urllib.parse import urlencode

import pytest

from embedrouter.web.forms import own_path
from embedrouter.web.frame import HOME
from security.people import PASSWORD, Browser, office
from security.test_login import ACCESS

_FORGED = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example.net"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
    {"Referer": "http://127.0.0.1/"},
    {},
]
_TARGETS = [
    "//evil.example.net",
    "https://evil.example.net",
    "/\\evil.example.net",
    "\\\\evil",
    "javascript:alert(1)",
    "/\t/evil.example.net",
    "\t//evil.example.net",
    "/\n/evil",
    "/a\r\nSet-Cookie: x=y",
    "evil.example.net",
    "",
    " //evil.example.net",
    "/ /evil",
    "/ünï",
    "/" + "x" * 600,
    "///evil.example.net",
    "data:text/html,x",
]


@pytest.fixture(scope="module")
def admin() -> Browser:
    return office()


@pytest.fixture(scope="module")
def member(admin: Browser) -> Browser:
    return admin.invites()


def _origin(browser: Browser) -> dict[str, str]:
    return {"Origin": browser.server.root}


@pytest.mark.parametrize("said", _FORGED, ids=str)
def test_28_what_another_site_sends_is_refused(admin: Browser, member: Browser, said: dict[str, str]) -> None:
    member.site = said
    try:
        for path in ("/logout", "/account/sessions", "/account/password", "/account/users/x", "/login", "/setup"):
            assert member.form(path).status == 403, path
        for method, path in (
            ("POST", "/session"),
            ("DELETE", "/session"),
            ("DELETE", "/sessions"),
            ("POST", "/password"),
            ("PATCH", "/users/x"),
            ("POST", "/invites"),
            ("POST", "/setup"),
        ):
            member.send(method, f"/api/internal{path}", b"{}").error(403, "permission_denied")
        assert member.user, "and looking on is harmless: it is other pages that cannot read the answer"
    finally:
        member.site = {"Sec-Fetch-Site": "same-origin"}


def test_28_no_route_of_the_pages_takes_what_another_site_sends(admin: Browser) -> None:
    admin.site = {"Sec-Fetch-Site": "cross-site"}
    try:
        for method, path in ACCESS:
            place = path.replace("{id}", "x")
            if method == "GET":
                continue
            if place.startswith("/api/internal"):
                admin.send(method, place, b"{}").error(403, "permission_denied")
            else:
                assert admin.form(place).status == 403, path
    finally:
        admin.site = {"Sec-Fetch-Site": "same-origin"}


def test_28_our_own_pages_are_served_also_where_browsers_say_only_the_origin(member: Browser) -> None:
    for said in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, _origin(member)):
        person = Browser(member.server, member.email)
        person.site = said
        assert person.form("/login", email=person.email, password=PASSWORD).status == 303, said
        assert person.log_in().status == 200


def test_28_json_must_be_sent_as_json(member: Browser) -> None:
    fields = {"email": member.email, "password": PASSWORD}
    for body in (urlencode(fields), json.dumps(fields)):  # any site's form can send JSON as text/plain
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = member.send("POST", "/api/internal/session", body, {"Content-Type": kind})
            answer.error(400, "invalid_request")
    assert member.send("POST", "/login", b"{}", {"Content-Type": "application/json"}).status == 400


def test_28_no_other_site_may_read_answers(member: Browser) -> None:
    for path in ("/api/internal/session", "/account"):
        answer = member.send("GET", path, headers={"Origin": "https://evil.example.net"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_29_what_people_call_themselves_is_shown_as_text(admin: Browser) -> None:
    url = admin.post("/invites").json()["url"]
    person = Browser(admin.server, '"><img/src=x>@example.org')
    fields = {"token": url.partition("token=")[2], "email": person.email, "password": PASSWORD}
    assert person.form("/setup", **fields, name="<script>alert(1)</script>{{7*7}}").status == 303
    agent = {"User-Agent": "<svg onload=alert(1)>"}
    assert person.send("POST", "/api/internal/session", {"email": person.email, "password": PASSWORD}, agent).status
    for page in (admin.get("/account").body, person.get("/account").body):
        assert b"&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page
        for wrong in (b"<script>", b"<img", b"<svg onload", b"onload=alert(1)>"):
            assert wrong not in page
    assert b"<svg onload" not in Browser(admin.server).form("/login", email="<svg onload=x>", password="x").body


@pytest.mark.parametrize("path", ["/login", "/account", "/setup?token=x", "/account/nothing"])
def test_30_pages_are_not_framed_sniffed_or_kept_and_run_only_our_script(member: Browser, path: str) -> None:
    answer = member.get(path)
    if path == "/account/nothing":
        assert answer.status in (404, 405)
        return
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin", "a link's token is told to no other site"
    scripts = re.findall(rb"<script[^>]*>", answer.body)
    assert [tag for tag in scripts if not re.fullmatch(rb'<script type="module" src="/assets/[\w.-]+">', tag)] == []
    assert not re.search(rb"<[^>]* on\w+=", answer.body)
    assert b"style=" not in answer.body
    assert b"http" not in answer.body.replace(b"http://www.w3.org", b""), "nothing comes from elsewhere"


@pytest.mark.parametrize("target", _TARGETS)
def test_30_a_login_goes_on_to_pages_of_ours_only(member: Browser, target: str) -> None:
    assert own_path(target) == HOME
    answer = member.get(f"/login?{urlencode({'next': target})}")
    assert (answer.status, answer.headers["location"]) == (303, HOME)
    assert "x=y" not in str(answer.headers)


def test_30_a_login_goes_on_to_where_one_was_headed(member: Browser) -> None:
    person = Browser(member.server, member.email)
    assert person.get("/account").headers["location"] == "/login?next=/account"
    answer = person.form("/login", email=person.email, password=PASSWORD, next="/account?a=b#c")
    assert (answer.status, answer.headers["location"]) == (303, "/account?a=b#c")
    again = Browser(member.server, member.email)
    evil = again.form("/login", email=again.email, password=PASSWORD, next="//evil.example.net")
    assert (evil.status, evil.headers["location"]) == (303, HOME)
