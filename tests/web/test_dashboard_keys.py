"""Keys on the dashboard: made, shown once, limited, changed and deleted, each by whom it belongs to."""

import re

import pytest

from security.people import Browser, office
from server import Answer, eventually
from web.people import SECRET, ask, embed, make_key, manager, text_of

_EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'


@pytest.fixture
def member(admin: Browser) -> Browser:
    return admin.invites()


def test_a_member_makes_a_key_that_is_shown_once_and_embeds(admin: Browser, member: Browser) -> None:
    opened = re.search(r'name="opened" value="(\d+)"', member.get("/dashboard/keys/new").body.decode())
    assert opened is not None
    sent = {"name": "For the shop", "opened": opened[1]}
    answer = member.form("/dashboard/keys", **sent)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    (secret,) = set(SECRET.findall(answer.body.decode()))
    assert f"Bearer {secret}" in text_of(answer)
    assert f"{admin.server.root}/api/v1/embeddings" in text_of(answer).replace("localhost", "127.0.0.1")
    assert embed(admin.server, secret).status == 200

    again = member.form("/dashboard/keys", **sent)  # the page is reloaded
    assert again.status == 409
    assert not SECRET.search(again.body.decode())
    listed = member.get("/dashboard/keys")
    assert text_of(listed).count("For the shop") == 1
    for page in (listed, member.get(_key_path(listed)), member.get("/dashboard"), member.get("/dashboard/logs")):
        assert page.status == 200
        assert secret not in page.body.decode()
    assert secret not in admin.server.output()
    for file in admin.server.data_dir.glob("embedrouter.db*"):
        assert secret.encode() not in file.read_bytes(), file


def _key_path(listed: Answer) -> str:
    found = re.search(r'href="(/dashboard/keys/[0-9a-f]{64})"', listed.body.decode())
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", " ", "Say what the key is for"),
        ("name", "x" * 201, "at most 200"),
        ("name", "a\x00b", "control characters"),
        ("limit", "-1", "an amount in USD"),
        ("limit", "much", "an amount in USD"),
        ("limit", "nan", "an amount in USD"),
        ("limit", "1,5", "an amount in USD like 12.50"),
        ("limit", "0,500", "an amount in USD like 12.50"),
        ("limit", "1e300", "0 to 5,000,000"),
        ("limit_reset", "hourly", "daily, weekly, monthly"),
        ("requests_per_minute", "0", "a whole number, 1 to"),
        ("tokens_per_minute", "1.5", "a whole number, 1 to"),
        ("max_concurrent", "9" * 30, "a whole number, 1 to"),
        ("expires_at", "2001-01-01T00:00", "in the future"),
        ("expires_at", "soon", "a time in UTC"),
        ("expires_at", "2999-01-01T00:00+02:00", "a time in UTC"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(admin: Browser, field: str, value: str, told: str) -> None:
    answer = admin.form("/dashboard/keys", **{"name": "A name", "max_concurrent": "7", field: value})
    page = answer.body.decode()
    assert answer.status == 400, text_of(answer)
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true" aria-describedby="wrong-{field}"', page), text_of(answer)
    message = re.search(rf'id="wrong-{field}">([^<]*)<', page)
    assert message is not None
    assert told in message[1]
    assert page.count("aria-invalid") == 1
    if field != "max_concurrent":
        assert 'name="max_concurrent" value="7"' in page, "what was typed stays"


def test_what_the_form_says_is_what_the_api_tells_and_enforces(admin: Browser, member: Browser) -> None:
    terms = {"limit": "$1,000.5", "limit_reset": "weekly", "requests_per_minute": "60", "tokens_per_minute": "9000",
             "max_concurrent": "4", "expires_at": "2999-12-31T23:59", "private": "true"}  # fmt: skip
    secret, hash_ = make_key(member, "Limited", **terms)
    made = ask("GET", f"/keys/{hash_}")["data"]
    assert made["creator_user_id"] == member.user["id"]
    assert (made["limit"], made["limit_reset"], made["requests_per_minute"]) == (1000.5, "weekly", 60)
    assert (made["tokens_per_minute"], made["max_concurrent"]) == (9000, 4)
    assert (made["private"], made["include_byok_in_limit"]) == (True, False)
    assert (made["management"], made["expires_at"]) == (False, "2999-12-31T23:59:00.000+00:00")
    shown = member.get(f"/dashboard/keys/{hash_}").body.decode()
    for sent in ('value="1000.5"', 'value="weekly" selected', 'value="2999-12-31T23:59:00"'):
        assert sent in shown

    changed = member.form(f"/dashboard/keys/{hash_}", name="Used up", limit="0", include_byok_in_limit="true")
    assert (changed.status, changed.headers["location"]) == (303, f"/dashboard/keys/{hash_}?done=saved")
    made = ask("GET", f"/keys/{hash_}")["data"]
    assert (made["name"], made["limit"], made["limit_reset"]) == ("Used up", 0.0, None)
    assert (made["expires_at"], made["private"], made["include_byok_in_limit"]) == (None, False, True)
    assert embed(admin.server, secret).status == 402
    assert "used up" in text_of(member.get("/dashboard/keys"))


def test_a_key_is_disabled_enabled_and_deleted(admin: Browser, member: Browser) -> None:
    secret, hash_ = make_key(member, "Short life")

    def act(action: str) -> str:
        answer = member.form(f"/dashboard/keys/{hash_}/state", action=action)
        return answer.headers.get("location", str(answer.status))

    assert act("disable") == f"/dashboard/keys/{hash_}?done=disabled"
    assert embed(admin.server, secret).status == 401
    assert "disabled" in text_of(member.get("/dashboard/keys"))
    assert act("enable") == f"/dashboard/keys/{hash_}?done=enabled"
    assert embed(admin.server, secret).status == 200
    assert act("explode") == "400"
    assert act("delete") == "/dashboard/keys?done=deleted"
    assert embed(admin.server, secret).status == 401
    assert member.get(f"/dashboard/keys/{hash_}").status == 404
    assert act("enable") == "404"


def test_a_key_that_is_past_its_end_can_still_be_renamed(member: Browser) -> None:
    _, hash_ = make_key(member, "Almost over", expires_at="2999-01-01T00:00:00")
    end = re.search(r'name="expires_at" value="([^"]+)"', member.get(f"/dashboard/keys/{hash_}").body.decode())
    assert end is not None
    assert member.form(f"/dashboard/keys/{hash_}", name="Renamed", expires_at=end[1]).status == 303
    assert ask("GET", f"/keys/{hash_}")["data"]["expires_at"] == "2999-01-01T00:00:00.000+00:00"


def test_a_member_does_nothing_with_keys_of_others(admin: Browser, member: Browser) -> None:
    secret, hash_ = make_key(admin.invites(), "Somebody else's")
    assert "Somebody else's" not in text_of(member.get("/dashboard/keys?q=Somebody"))
    assert member.get(f"/dashboard/keys/{hash_}").status == 404
    assert member.form(f"/dashboard/keys/{hash_}", name="Mine now", limit="0").status == 404
    for action in ("disable", "delete"):
        assert member.form(f"/dashboard/keys/{hash_}/state", action=action).status == 404
    for path in (f"/dashboard/logs?key={hash_}", f"/dashboard/activity?key={hash_}"):
        assert member.get(path).status == 404
    assert embed(admin.server, secret).status == 200
    assert "Somebody else's" in text_of(admin.get("/dashboard/keys?q=somebody"))
    assert admin.form(f"/dashboard/keys/{hash_}/state", action="disable").status == 303
    assert embed(admin.server, secret).status == 401


def test_management_keys_are_administrators(admin: Browser, member: Browser) -> None:
    refused = member.form("/dashboard/keys", name="More", management="true")
    assert (refused.status, SECRET.search(refused.body.decode())) == (403, None)
    assert "management" not in member.get("/dashboard/keys/new").body.decode().lower()
    assert "management" in admin.get("/dashboard/keys/new").body.decode().lower()
    owned = ask("POST", "/keys", {"name": "His", "management": True, "creator_user_id": member.user["id"]})
    path = f"/dashboard/keys/{owned['data']['hash']}"
    assert member.get(path).status == 200
    assert member.form(path, name="Other").status == 403
    assert member.form(f"{path}/state", action="delete").status == 403
    assert embed(admin.server, manager()).status == 403


def test_an_administrator_is_told_whose_a_key_is(admin: Browser, member: Browser) -> None:
    _, hash_ = make_key(member, "Whose is it")
    assert f"Whose {member.email}" in text_of(admin.get(f"/dashboard/keys/{hash_}"))
    assert member.email not in text_of(member.get(f"/dashboard/keys/{hash_}"))
    _, hash_ = make_key(admin, "Mine")
    assert "Whose yours" in text_of(admin.get(f"/dashboard/keys/{hash_}"))


def test_a_member_chooses_no_workspace(member: Browser) -> None:
    other = ask("POST", "/workspaces", {"name": "Apart", "slug": "apart"})["data"]["id"]
    _, hash_ = make_key(member, "Here", workspace_id=other)
    assert ask("GET", f"/keys/{hash_}")["data"]["workspace_id"] != other
    _, hash_ = make_key(office(), "There", workspace_id=other)
    assert ask("GET", f"/keys/{hash_}")["data"]["workspace_id"] == other
    assert "Workspace Apart" in text_of(office().get(f"/dashboard/keys/{hash_}")), "by its name"
    assert office().form("/dashboard/keys", name="Nowhere", workspace_id="no-such").status == 400


def test_names_are_text(admin: Browser, member: Browser) -> None:
    _, hash_ = make_key(member, _EVIL)
    for person in (member, admin):
        for path in ("/dashboard/keys", f"/dashboard/keys/{hash_}", "/dashboard/logs", "/dashboard/activity?by=key"):
            page = person.get(path).body.decode()
            assert "<script>alert" not in page
            assert "<img src=x" not in page
    assert _EVIL in text_of(member.get("/dashboard/keys"))
    typed = member.form("/dashboard/keys", name=_EVIL, limit=_EVIL).body.decode()
    assert "<script>alert" not in typed
    found = member.get("/dashboard/keys?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in found.body.decode()


def test_the_list_is_searched_sorted_and_read_page_by_page(member: Browser) -> None:
    for number in range(27):
        make_key(member, f"key {number:02}", **({"limit": str(number)} if number % 2 else {}))

    def names(query: str) -> list[str]:
        page = member.get(f"/dashboard/keys?{query}")
        assert page.status == 200
        return re.findall(r">(key \d\d)</a>", page.body.decode())

    newest = names("")
    assert newest == [f"key {number:02}" for number in range(26, 1, -1)]
    assert names("page=2") == ["key 01", "key 00"]
    assert names("sort=name") == sorted(names("sort=name"))
    assert names("sort=limit&order=desc")[:2] == ["key 25", "key 23"]
    assert names("sort=limit&order=asc&page=2") == ["key 02", "key 00"], "keys without a limit are last"
    assert names("q=KEY+1") == [f"key {number}" for number in range(19, 9, -1)]
    assert names("q=nothing") == []
    assert member.get("/dashboard/keys?sort=secret").status == 400
    assert member.get("/dashboard/keys?page=999999999999").status == 200


@pytest.mark.parametrize("site", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {}])
def test_another_site_s_forms_do_nothing(member: Browser, site: dict[str, str]) -> None:
    _, hash_ = make_key(member, "Stays")
    member.site = site
    for path in ("/dashboard/keys", f"/dashboard/keys/{hash_}", f"/dashboard/keys/{hash_}/state"):
        answer = member.form(path, name="Forged", action="delete")
        assert (answer.status, SECRET.search(answer.body.decode())) == (403, None)
    listed = text_of(member.get("/dashboard/keys"))
    assert ("Stays" in listed, "Forged" in listed) == (True, False)


def test_what_was_used_is_there_with_the_key(admin: Browser, member: Browser) -> None:
    secret, hash_ = make_key(member, "Busy", limit="0.000001")
    assert embed(admin.server, secret, "one two three").status == 200

    eventually(lambda: ask("GET", f"/keys/{hash_}")["data"]["last_used_at"] is not None)
    assert "$0.000000025 of $0.000001" in text_of(member.get("/dashboard/keys"))
