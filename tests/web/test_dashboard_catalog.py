"""/dashboard/catalog: edits by page are checked whole, and live for the next request."""

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from api.test_catalog import path_of
from security.people import Browser
from upstream import Upstream
from web.desk import HOSTILE, alert, desk, went_to

_EDIT = "/dashboard/catalog/edit"


@pytest.fixture(scope="module")
def admin() -> Browser:
    return desk()


@pytest.fixture(autouse=True)
def as_it_was(admin: Browser) -> Iterator[None]:
    yield
    for kind in ("endpoint", "model", "provider"):
        for item in admin.server.manage("GET", "/catalog").json()["data"]:
            if item["kind"] == kind and item["source"] == "database":
                assert admin.server.manage("DELETE", path_of(kind, item["key"])).status == 200


def _document(url: str) -> str:
    return f"""
[[providers]]
slug = "desk"
wire = "openai"
base_url = "{url}"
allow_private = true
needs_credential = false

[[models]]
slug = "desk/one"
name = 'A {HOSTILE}'
context_length = 512
dimensions = 384

[[endpoints]]
model = "desk/one"
provider = "desk"
upstream_model = "one"
"""


def test_an_edit_by_page_serves_a_real_request_within_two_seconds(admin: Browser) -> None:
    with Upstream() as upstream:
        document = _document(upstream.url)
        assert admin.server.embed("a text", model="desk/one").status == 404
        tried = admin.form(_EDIT, action="try", text=document)
        assert tried.status == 200
        assert "Served then, too: desk/one" in tried.body.decode()
        assert b"<script>alert" not in tried.body
        assert admin.server.embed("a text", model="desk/one").status == 404, "trying changes nothing"
        assert went_to(admin.form(_EDIT, action="save", text=document)) == "/dashboard/catalog"
        began = time.monotonic()
        assert admin.server.embed("a text", model="desk/one").status == 200
        assert time.monotonic() - began < 2
        assert upstream.requests == 1
        for kind in ("provider", "model", "endpoint"):
            page = admin.get(f"/dashboard/catalog?kind={kind}&source=database").body
            assert b"desk" in page
        assert b"<script>alert" not in admin.get(f"{_EDIT}?kind=model&key=desk/one").body


def test_what_is_wrong_is_told_with_its_path_and_nothing_is_changed(admin: Browser) -> None:
    before = admin.server.manage("GET", "/catalog").json()["revision"]
    answer = admin.form(_EDIT, action="save", text=_document("https://desk.example/v1").replace("384", "0"))
    assert answer.status == 400
    assert "dimensions" in answer.body.decode()
    assert "desk/one" in answer.body.decode(), "and what was typed is still there"
    for text, told in (
        ("[[providers]", "not valid TOML"),
        ('{"providers": [', "not valid JSON"),
        ('[[provider]]\nslug = "x"', "is no part of a catalog"),
        ("", "states nothing"),
        ("[" * 5_000, "TOML"),
    ):
        wrong = admin.form(_EDIT, action="save", text=text)
        assert wrong.status == 400, text[:20]
        assert told in wrong.body.decode(), text[:20]
    assert admin.server.manage("GET", "/catalog").json()["revision"] == before


def test_an_edit_shows_which_fields_it_would_change(admin: Browser) -> None:
    page = admin.get(f"{_EDIT}?kind=provider&key=vllm").body.decode()
    assert "slug = &#34;vllm&#34;" in page
    document = '{"providers": [{"slug": "vllm", "name": "vLLM", "wire": "openai", "base_url": "https://v.example/v1"}]}'
    tried = admin.form(_EDIT, action="try", kind="provider", key="vllm", text=document).body.decode()
    assert "<code>base_url</code>" in tried
    assert "https://v.example/v1" in tried.partition("What would change")[2]
    assert admin.server.manage("GET", "/catalog/providers/vllm").json()["data"]["source"] == "shipped"


def test_an_override_is_deleted_after_a_question_and_the_shipped_entry_holds_again(admin: Browser) -> None:
    document = '{"providers": [{"slug": "vllm", "name": "Mine", "wire": "openai", "base_url": "https://v.example/v1"}]}'
    path = went_to(admin.form(_EDIT, action="save", text=document))
    page = admin.get(path).body.decode()
    assert "Delete the override" in page
    asked = admin.get("/dashboard/catalog/remove?kind=provider&key=vllm").body.decode()
    assert "holds again" in asked
    assert went_to(admin.form("/dashboard/catalog/remove", kind="provider", key="vllm")) == path
    assert admin.server.manage("GET", "/catalog/providers/vllm").json()["data"]["source"] == "shipped"
    assert admin.form("/dashboard/catalog/remove", kind="provider", key="vllm").status == 404
    assert admin.get(f"{_EDIT}?kind=nothing&key=x").status == 400
    assert admin.get(f"{_EDIT}?kind=model&key={quote(HOSTILE)}").status == 404


def test_stored_credentials_are_not_sent_to_another_address(admin: Browser) -> None:
    made = admin.server.manage("POST", "/byok", {"provider": "openai", "key": "sk-of-openai-0123456789"}).json()["data"]
    document = '{"providers": [{"slug": "openai", "wire": "openai", "base_url": "https://thief.example/v1"}]}'
    answer = admin.form(_EDIT, action="save", text=document)
    assert answer.status == 409
    assert "stored credentials" in alert(answer)
    admin.server.manage("DELETE", f"/byok/{made['id']}")
