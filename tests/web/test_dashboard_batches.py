"""Batches on the dashboard: how far one's own are, their results, and nobody else's."""

import json
import re
from typing import Any

import pytest

from security.people import Browser
from server import MODEL, eventually
from web.people import make_key, text_of

_EVIL = "</code><script>alert(1)</script>"
_TOO_LONG = "word " * 9000


@pytest.fixture(scope="module")
def member(admin: Browser) -> Browser:
    return admin.invites()


@pytest.fixture(scope="module")
def key(member: Browser) -> str:
    return make_key(member, "For batches")[0]


def _batch(person: Browser, key: str, *inputs: str, **fields: Any) -> str:
    requests = [{"custom_id": f"{number} {_EVIL}", "body": {"input": text}} for number, text in enumerate(inputs)]
    body = {"endpoint": "/v1/embeddings", "model": MODEL, "requests": requests, **fields}
    answer = person.server.request("POST", "/api/v1/batches", body, key=key)
    assert answer.status == 202, answer.body
    return str(answer.json()["id"])


def _ended(person: Browser, id_: str) -> str:
    """Its page once it has ended."""
    eventually(lambda: "Delete the batch" in text_of(person.get(f"/dashboard/batches/{id_}")))
    return text_of(person.get(f"/dashboard/batches/{id_}"))


def _listed(person: Browser, query: str = "") -> list[str]:
    answer = person.get(f"/dashboard/batches?{query}")
    assert answer.status == 200, text_of(answer)
    return re.findall(r'href="/dashboard/batches/(batch_[0-9a-f]+)"', answer.body.decode())


def test_a_batch_is_shown_with_what_became_of_it_and_its_results(admin: Browser, member: Browser, key: str) -> None:
    id_ = _batch(member, key, "hello", _TOO_LONG, "world", metadata={"of": _EVIL})
    page = _ended(member, id_)
    for said in ("completed", "3 of 3", "2 answered", "Failed 1", "Requests that failed", f"1 {_EVIL}", MODEL):
        assert said in page, said
    assert _EVIL not in member.get(f"/dashboard/batches/{id_}").body.decode()
    assert _listed(member)[0] == id_
    assert id_ in _listed(admin)
    results = member.get(f"/api/internal/batches/{id_}/results")
    assert results.headers["content-disposition"] == f'attachment; filename="{id_}.jsonl"'
    first, second, third = map(json.loads, results.body.splitlines())
    assert [len(one["response"]["body"]["data"][0]["embedding"]) for one in (first, third)] == [384, 384]
    assert second["custom_id"] == f"1 {_EVIL}"
    assert second["response"]["body"]["error"]["code"] == 400


def test_nobody_sees_or_touches_the_batches_of_others(admin: Browser, member: Browser, key: str) -> None:
    id_ = _batch(member, key, "a secret of mine")
    _ended(member, id_)
    other = admin.invites()
    assert _listed(other) == []
    for path in (
        f"/dashboard/batches/{id_}",
        f"/dashboard/batches?after={id_}",
        f"/api/internal/batches/{id_}/results",
    ):
        assert other.get(path).status == 404, path
        assert admin.get(path).status == 200, path
    for action in ("cancel", "delete"):
        assert other.form(f"/dashboard/batches/{id_}/{action}").status == 404
    assert [member.get(f"/dashboard/batches/{one}").status for one in ("%00", "batch_x", "x" * 300)] == [404] * 3
    assert Browser(admin.server).get(f"/dashboard/batches/{id_}").status == 303


def test_a_running_batch_is_cancelled_and_deleted_with_its_results(member: Browser, key: str) -> None:
    id_ = _batch(member, key, *["word " * 8000] * 200)
    running = member.get(f"/dashboard/batches/{id_}")
    assert "Cancel the batch" in text_of(running)
    assert f'hx-get="/dashboard/batches/{id_}" hx-trigger="every 2s"' in running.body.decode()
    assert id_ in _listed(member, "status=running")
    early = member.get(f"/api/internal/batches/{id_}/results")
    assert early.status == 409
    assert "no results yet" in early.json()["error"]["message"]
    assert member.form(f"/dashboard/batches/{id_}/cancel").status == 303
    assert "cancelled" in _ended(member, id_)
    assert id_ in _listed(member, "status=cancelled")
    assert id_ not in _listed(member, "status=running")
    assert member.form(f"/dashboard/batches/{id_}/cancel").status == 303  # too late, and no error
    assert "Delete this batch?" in text_of(member.get(f"/dashboard/batches/{id_}/delete"))
    assert member.form(f"/dashboard/batches/{id_}/delete").headers["location"] == "/dashboard/batches"
    assert member.get(f"/dashboard/batches/{id_}").status == 404


def test_older_batches_are_on_the_next_page(member: Browser, key: str) -> None:
    older, newer = _batch(member, key, "one"), _batch(member, key, "two")
    both = [id_ for id_ in _listed(member) if id_ in (older, newer)]
    assert both == [newer, older]
    following = _listed(member, f"after={newer}")
    assert following[0] == older
    assert newer not in following
    assert member.get("/dashboard/batches?status=nonsense").status == 400


def test_who_has_no_batches_is_told_how_to_make_one(admin: Browser) -> None:
    page = admin.invites().get("/dashboard/batches")
    assert "No batches yet" in text_of(page)
    assert 'href="/docs/batches"' in page.body.decode()
