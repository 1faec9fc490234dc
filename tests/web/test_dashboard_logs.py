"""Logs on the dashboard: every request of one's own, each in full, and nobody else's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from security.people import PASSWORD, Browser, setup_token
from server import MODEL, serving
from web.people import ask, embed, make_key, text_of

_EVIL = "</code><script>alert(1)</script>"


@pytest.fixture(scope="module")
def member(admin: Browser) -> Browser:
    return admin.invites()


@pytest.fixture(scope="module")
def key(member: Browser) -> tuple[str, str]:
    return make_key(member, f"Logged {_EVIL}")


def _embed(admin: Browser, key: tuple[str, str], text: str = "hello", **headers: str) -> str:
    answer = embed(admin.server, key[0], text, **headers)
    assert answer.status == 200
    return answer.headers["x-generation-id"]


def _ids(person: Browser, query: str = "") -> list[str]:
    answer = person.get(f"/dashboard/logs?{query}")
    assert answer.status == 200, text_of(answer)
    return re.findall(r'href="/dashboard/logs/(gen-[^"]+)"', answer.body.decode())


def test_a_request_is_in_the_logs_at_once_and_says_what_the_api_says(
    admin: Browser, member: Browser, key: tuple[str, str]
) -> None:
    id_ = _embed(
        admin, key, "one two three", User_Agent="curl/8", HTTP_Referer="https://shop.example/a", X_Title="Shop"
    )
    assert _ids(member)[0] == id_
    assert _ids(admin)[0] == id_
    told = ask("GET", f"/generation?id={id_}")["data"]
    page = member.get(f"/dashboard/logs/{id_}")
    shown = text_of(page)
    for said in (
        f"Tokens {told['tokens_prompt']} 1 input",
        f"Client {told['user_agent']}",
        f"Provider {told['provider_name']}",
        "Cost $0.000000025",
        "App Shop",
        "Referer https://shop.example/a",
    ):
        assert said in shown, said
    for attempt in told["provider_responses"]:
        assert attempt["endpoint_id"] in shown
    source = page.body.decode()
    assert f'href="/dashboard/keys/{key[1]}"' in source
    assert f'href="/{MODEL}"' in source
    assert 'href="https://shop.example/a" rel="nofollow noopener ugc"' in source
    assert f'data-copy="{id_}"' in source


def test_nobody_sees_what_others_asked(admin: Browser, key: tuple[str, str]) -> None:
    id_ = _embed(admin, key, "a secret of mine")
    other = admin.invites()
    assert _ids(other) == []
    answers = [other.get(f"/dashboard/logs/{one}") for one in (id_, "gen-there-is-none", "%00", "x" * 300)]
    assert [answer.status for answer in answers] == [404] * 4
    assert answers[0].body == answers[1].body.replace(b"gen-there-is-none", id_.encode())
    assert Browser(admin.server).get(f"/dashboard/logs/{id_}").status == 303
    assert admin.get(f"/dashboard/logs/{id_}").status == 200


def test_pages_follow_each_other_and_lose_nothing(admin: Browser, key: tuple[str, str]) -> None:
    person = admin.invites()
    own = make_key(person, "Many")
    made = [_embed(admin, own, f"text {number}") for number in range(53)]
    first = person.get("/dashboard/logs").body.decode()
    older = re.search(r'href="/dashboard/logs\?([^"]*after=[^"]*)"', first)
    assert older is not None
    following = older[1].replace("&amp;", "&")
    assert _ids(person) + _ids(person, following) == made[::-1]
    assert "Older" not in text_of(person.get(f"/dashboard/logs?{following}"))
    for wrong in ("after=x", "after=1", "after=1_", f"after={'9' * 30}_gen", "after=1_%00"):
        assert person.get(f"/dashboard/logs?{wrong}").status == 400


def test_filters(admin: Browser, member: Browser, key: tuple[str, str]) -> None:
    person = admin.invites()
    one, two = make_key(person, "one"), make_key(person, "two")
    of_one, of_two = (
        _embed(admin, one, "x", X_Title="Mine", HTTP_Referer="https://mine.example"),
        _embed(admin, two, "y"),
    )
    both = [of_two, of_one]
    app = re.search(r'<option value="(\d+)"[^>]*>Mine</option>', person.get("/dashboard/logs").body.decode())
    for query, found in (
        (f"key={one[1]}", [of_one]),
        (f"model={MODEL}", both),
        ("model=no/such", []),
        ("status=answered", both),
        ("status=failed", []),
        ("status=200", both),
        ("status=429", []),
        ("cached=no", both),
        ("cached=yes", []),
        ("since=2001-01-01T00:00", both),
        ("until=2001-01-01T00:00", []),
        ("since=2999-01-01T00:00", []),
        ("app=0", [of_two]),
    ):
        assert _ids(person, query) == found, query
    if app is not None:  # its sums may come a moment later
        assert _ids(person, f"app={app[1]}") == [of_one]
    for wrong in ("status=sad", "cached=maybe", "since=then", "app=x", "model=%00", "since=9999999-01-01T00:00"):
        assert person.get(f"/dashboard/logs?{wrong}").status == 400, wrong
    assert person.get(f"/dashboard/logs?key={key[1]}").status == 404


def test_what_clients_say_of_themselves_is_text(admin: Browser, member: Browser, key: tuple[str, str]) -> None:
    id_ = _embed(admin, key, User_Agent=_EVIL, HTTP_Referer="javascript:alert(1)", X_Title=_EVIL)
    for person in (member, admin):
        for path in ("/dashboard/logs", f"/dashboard/logs/{id_}", f"/dashboard/logs?model={_EVIL}"):
            page = person.get(path.replace("<", "%3C").replace(">", "%3E")).body.decode()
            assert "<script>alert" not in page
            assert 'href="javascript:' not in page
    assert f"Client {_EVIL}" in text_of(member.get(f"/dashboard/logs/{id_}"))


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The administrator of a server that keeps inputs."""
    folder: Path = tmp_path_factory.mktemp("keeping")
    with serving(folder, store_prompts="true", trust_proxy="true") as server:
        person = Browser(server)
        assert person.post("/setup", token=setup_token(server), email=person.email, password=PASSWORD).status == 201
        yield person


def test_inputs_that_are_kept_are_shown_to_whom_they_belong(keeping: Browser) -> None:
    asking, other = keeping.invites(), keeping.invites()
    secret, _ = make_key(asking, "Mine")
    id_ = embed(keeping.server, secret, f"the text itself {_EVIL}").headers["x-generation-id"]
    for person in (asking, keeping):
        page = person.get(f"/dashboard/logs/{id_}")
        assert f"the text itself {_EVIL}" in text_of(page)
        assert b"<script>alert" not in page.body
    answer = other.get(f"/dashboard/logs/{id_}")
    assert answer.status == 404
    assert b"the text itself" not in answer.body


def test_without_them_the_page_says_so(admin: Browser, member: Browser, key: tuple[str, str]) -> None:
    id_ = _embed(admin, key, "not kept at all")
    page = text_of(member.get(f"/dashboard/logs/{id_}"))
    assert "Not kept." in page
    assert "not kept at all" not in page
