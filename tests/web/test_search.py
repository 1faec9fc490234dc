"""What the palette finds."""

import json
from typing import Any

import pytest

from embedrouter.web.search import Place, find
from security.people import office
from server import MODEL, Server

_PLACES = (
    Place("page", "Models", "/models", "/models"),
    Place("model", "BAAI: bge-m3", "baai/bge-m3", "/baai/bge-m3"),
    Place("model", "MiniLM", "a/minilm", "/a/minilm"),
    Place("model", "Paraphrase MiniLM", "a/p-minilm", "/a/p-minilm"),
    Place("provider", "Ärger", "aerger", "/providers/aerger"),
)


@pytest.mark.parametrize(
    ("query", "urls"),
    [("minilm", ["/a/minilm", "/a/p-minilm"]), ("MINI", ["/a/minilm", "/a/p-minilm"]), ("m3 bge", ["/baai/bge-m3"]),
     ("ärg", ["/providers/aerger"]), ("zzz", []), ("provider", ["/providers/aerger"]), ("mini zzz", [])],
)  # fmt: skip
def test_all_words_must_be_there_and_the_closest_title_comes_first(query: str, urls: list[str]) -> None:
    assert [place.url for place in find(query, _PLACES)] == urls


def test_no_query_finds_some_of_all() -> None:
    assert find("  ", _PLACES) == list(_PLACES)


def test_the_server_finds_its_models_providers_and_pages(live: Server) -> None:
    def found(query: str) -> list[dict[str, Any]]:
        answer = live.get(f"/search.json?q={query}")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        results: list[dict[str, Any]] = json.loads(answer.body)["results"]
        return results

    assert found("minilm")[0]["url"] == f"/{MODEL}"
    assert {"kind": "page", "title": "Rankings", "detail": "/rankings", "url": "/rankings"} in found("rank")
    assert found("builtin")[0]["kind"] in ("provider", "model")
    assert [place["kind"] for place in found("logs")].count("page") == 0, "nobody is signed in"
    assert found("x" * 5000) == []
    assert found("%00%ff") == []


def test_who_is_signed_in_finds_the_pages_of_the_dashboard() -> None:
    admin = office()
    for person, query, urls in (
        (admin, "credits", ["/dashboard/credits"]),
        (admin, "incidents", ["/dashboard/incidents"]),
        (admin, "account", ["/account"]),
        (admin.invites(), "logs", ["/dashboard/logs"]),
        (admin.invites(), "incidents", []),
    ):
        results = json.loads(person.get(f"/search.json?q={query}").body)["results"]
        assert [place["url"] for place in results if place["kind"] == "page"] == urls
        assert not urls or results[0]["kind"] == "page", "a page is before the docs about it"
