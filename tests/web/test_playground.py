"""The Playground over HTTP: without scripts, and the routes that its scripts ask."""

import base64
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedrouter.web.playground.asking import MOST_LINES
from embedrouter.web.playground.examples import EXAMPLES
from security.people import PASSWORD, Browser, office, setup_token
from server import EMBEDDINGS, MANAGER, MODEL, PICO_PER_TOKEN, Answer, Server, cosine, eventually, rows, serving

_LINES = ("A cat sleeps on the sofa.", "The kitten naps on the couch.", "Taxes are due in April.")


@pytest.fixture
def person() -> Browser:
    """Somebody new, who is signed in."""
    return office().invites()


def _ask(person: Browser, *texts: str, query: str = "") -> Answer:
    return person.form("/playground", texts="\n".join(texts), query=query, model=MODEL)


def _embed(person: Browser, given: Any, **fields: Any) -> Answer:
    return person.post("/embeddings", model=MODEL, input=given, **fields)


def _text(page: Answer) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.body.decode().partition("<main")[2])))


def test_anybody_sees_the_page_with_an_example(live: Server) -> None:
    for example in EXAMPLES:
        page = live.get(f"/playground?example={example.key}")
        assert page.status == 200
        assert unescape(page.body.decode()).count(example.texts[0]) >= 2  # in the form, and for the script
    assert live.get("/playground?view=nothing&example=nothing").status == 200
    assert "worker-src 'self'" in live.get("/playground").headers["content-security-policy"]


def test_without_scripts_a_form_answers_with_similarity_ranking_tokens_and_cost(person: Browser) -> None:
    page = _ask(person, *_LINES, "", "  ", query="pets")
    assert page.status == 200
    told = _text(page)
    vectors = rows(person.server.embed([*_LINES, "pets"]).vectors())
    assert f"{float(vectors[0] @ vectors[1]):.2f}" in told
    order = [int(one) for one in np.argsort(-(vectors[:3] @ vectors[3])) + 1]
    ranked = re.findall(r'<td class="number">-?0\.\d{4}</td>\s*<td class="number">(\d)</td>', page.body.decode())
    assert [int(one) for one in ranked] == order
    assert f"{float(vectors[2] @ vectors[3]):.4f}" in told
    assert "$0.0" in told
    assert "curl http" in told
    assert "taxes are due in april" in told.lower()


def test_what_is_embedded_is_counted_to_the_persons_own_playground_key(person: Browser) -> None:
    assert _embed(person, list(_LINES)).status == 200
    assert _ask(person, *_LINES).status == 200
    keys = _keys(person)
    assert [key["name"] for key in keys] == ["Playground"]
    tokens = person.server.embed(list(_LINES)).tokens()
    assert keys[0]["spent_pico"] == 2 * tokens * PICO_PER_TOKEN
    assert keys[0]["private"]


def _keys(person: Browser) -> list[dict[str, Any]]:
    """A person's keys, and what each has spent, as the database has them."""
    with closing(sqlite3.connect(person.server.data_dir / "embedrouter.db")) as database:
        database.row_factory = sqlite3.Row
        query = """SELECT k.name, k.private, k.hash,
            (SELECT sum(cost_pico) FROM generations g WHERE g.key_id = k.id) AS spent_pico
            FROM api_keys k WHERE k.owner_id = ? AND k.deleted_at IS NULL"""
        return [dict(row) for row in database.execute(query, [person.user["id"]])]


def test_a_session_gets_the_very_answer_that_a_key_gets(person: Browser) -> None:
    answer = _embed(person, list(_LINES), encoding_format="base64")
    assert answer.headers["x-generation-id"] == answer.json()["id"]
    assert cosine(answer.vectors(), person.server.embed(list(_LINES)).vectors()) > 0.999999
    assert len(base64.b64decode(answer.json()["data"][0]["embedding"])) == 4 * 384
    assert answer.tokens() == person.server.embed(list(_LINES)).tokens()
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("fields", "status", "error_type"),
    [
        ({"model": MODEL, "input": ["a", ""]}, 400, "invalid_request"),
        ({"model": "nobody/nothing", "input": "a"}, 404, "not_found"),
        ({"model": MODEL, "input": "a", "dimensions": 385}, 400, "invalid_request"),
        ({"model": MODEL}, 400, "invalid_request"),
    ],
)
def test_what_is_wrong_is_told_as_the_api_tells_it(fields: dict[str, Any], status: int, error_type: str) -> None:
    office().post("/embeddings", **fields).error(status, error_type)


def test_another_sites_page_embeds_nothing_and_neither_does_nobody(person: Browser) -> None:
    person.site = {"Sec-Fetch-Site": "cross-site"}
    _embed(person, "a").error(403, "permission_denied")
    assert _ask(person, "a").status == 403
    person.site = {}
    assert _ask(person, "a").status == 403
    assert _keys(person.twin()) == []
    nobody = Browser(person.server)
    _embed(nobody, "a").error(401, "authentication")
    nobody.post("/tokens", model=MODEL, texts=["a"]).error(401, "authentication")
    page = _ask(nobody, "a text of mine")
    assert page.status == 401
    assert "Sign in first" in _text(page)
    assert "a text of mine" in _text(page)


def test_a_key_opens_no_session_route(person: Browser) -> None:
    server = person.server
    sent = {"Sec-Fetch-Site": "same-origin"}
    body = {"model": MODEL, "input": "a"}
    server.request("POST", "/api/internal/embeddings", body, sent, key=server.key).error(401, "authentication")


def test_limits_of_the_playground_key_apply_and_a_disabled_one_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, management_key=MANAGER, trust_proxy="true") as server:
        admin = Browser(server)
        assert admin.post("/setup", token=setup_token(server), email=admin.email, password=PASSWORD).status == 201
        assert _embed(admin, "a").status == 200
        listed = server.manage("GET", "/keys").json()["data"]
        key = next(one for one in listed if one["name"] == "Playground")
        assert key["creator_user_id"] == admin.user["id"]
        server.manage("PATCH", f"/keys/{key['hash']}", {"requests_per_minute": 1})
        eventually(lambda: _embed(admin, "a").status == 429)
        refused = _ask(admin, "a")
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
        server.manage("PATCH", f"/keys/{key['hash']}", {"requests_per_minute": None, "limit": 0})
        _embed(admin, "a").error(402, "payment_required")
        server.manage("PATCH", f"/keys/{key['hash']}", {"limit": None, "disabled": True})
        told = _embed(admin, "a").error(403, "permission_denied")
        assert 'Your key "Playground"' in told["message"]
        assert _ask(admin, "a").status == 403
        # Its hash is nobody's secret.
        assert server.request("POST", EMBEDDINGS, {"model": MODEL, "input": "a"}, key=key["hash"]).status == 401
        assert server.request("POST", EMBEDDINGS, {"model": MODEL, "input": "a"}, key=key["label"]).status == 401


def test_the_form_says_what_is_wrong_and_keeps_what_was_written(person: Browser) -> None:
    assert "there are none" in _text(_ask(person, " ", ""))
    page = _ask(person, *(f"line {number}" for number in range(MOST_LINES + 1)))
    assert page.status == 400
    assert f"{MOST_LINES + 1} lines are more than the {MOST_LINES}" in _text(page)
    assert f"line {MOST_LINES}" in _text(page)
    assert _ask(person, *(f"line {number}" for number in range(MOST_LINES))).status == 200
    assert person.form("/playground", texts="x" * 300_000).status == 413
    wrong = person.form("/playground", texts="a", model="nobody/nothing")
    assert wrong.status == 404
    hostile = "</script><script>alert(1)</script>"
    assert hostile not in _ask(person, hostile, query=hostile).body.decode()


def test_wordpieces_are_shown_with_their_places_and_windows(person: Browser) -> None:
    long = "word " * 300
    answer = person.post("/tokens", model=MODEL, texts=["Unbelievable cats!", long])
    assert answer.status == 200
    first, second = answer.json()["data"]
    assert first["tokens"] == person.server.embed("Unbelievable cats!").tokens()
    assert [piece[1] for piece in first["pieces"]][-2:] == ["cats", "!"]
    assert ["Unbelievable cats!"[start:end] for _, _, start, end in first["pieces"]][-2:] == ["cats", "!"]
    assert (first["windows"], second["windows"], second["tokens"]) == (1, 2, 302)
    person.post("/tokens", model=MODEL, texts=["x" * 32_769]).error(400, "invalid_request")
    person.post("/tokens", model=MODEL, texts=["x"] * 51).error(400, "invalid_request")
    person.post("/tokens", model="nobody/nothing", texts=["x"]).error(404, "not_found")


def test_many_tabs_at_once_make_one_key(person: Browser) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: _embed(person, f"text {number}").status, range(6)))
    assert answers == [200] * 6
    assert len(_keys(person)) == 1
