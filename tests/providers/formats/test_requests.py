"""What the formats send: names that stay in their place, words each provider knows, nothing a header cannot carry."""

from typing import Any

import orjson
import pytest

from embedrouter.providers.formats import FORMATS
from embedrouter.providers.wire import UpstreamError, WireRequest
from providers.formats.shapes import SECRET, call, target

EVERY = pytest.mark.parametrize("name", FORMATS)
IN_PATH = pytest.mark.parametrize("name", ["azure", "bedrock", "cloudflare", "gemini"])
FIELDS = {"cohere": "input_type", "voyage": "input_type", "jina": "task", "gemini": "taskType", "nomic": "task_type"}


def built(name: str, asked: dict[str, Any] | None = None, **values: Any) -> WireRequest:
    return FORMATS[name].build_request(target(name, **values), call(name, **(asked or {})))


def said(name: str, input_type: str | None) -> Any:
    """What a format makes of an input type."""
    fields = orjson.loads(built(name, {"input_type": input_type}).body)
    return (fields["requests"][0] if name == "gemini" else fields).get(FIELDS[name])


def refused(name: str, asked: dict[str, Any] | None = None, **values: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        built(name, asked, **values)
    return caught.value


@EVERY
def test_the_credential_is_in_one_header_and_nowhere_else(name: str) -> None:
    request = built(name)
    assert [value.removeprefix("Bearer ") for value in request.headers.values()].count(SECRET) == 1
    assert SECRET not in request.url
    assert SECRET.encode() not in request.body
    assert len(built(name, credential=None).headers) == len(request.headers) - 1


@EVERY
@pytest.mark.parametrize("credential", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "sécret", "a\x7fb"])
def test_a_credential_that_no_header_carries_is_not_sent(name: str, credential: str) -> None:
    error = refused(name, credential=credential)
    assert error.failure == "refused"
    assert credential not in error.message


@IN_PATH
@pytest.mark.parametrize("model", ["a?x=1", "a#b", "a%2f..%2fb", "a%2e%2e", "a b", "a\\..\\b", "a;b", "a&b", "ü"])
def test_a_name_stays_in_its_place_in_the_path(name: str, model: str) -> None:
    plain, request = built(name, model="plain").url, built(name, model=model).url
    before, after = plain.split("plain")
    assert request.startswith(before)
    assert request.endswith(after)
    inside = request[len(before) : len(request) - len(after)]
    assert not set(inside) & set("/?#\\;& ")
    assert inside.isascii()
    assert "%2f" not in inside.lower().replace("%252f", "")
    assert "%2e" not in inside.lower().replace("%252e", "")


@IN_PATH
@pytest.mark.parametrize("model", ["", ".", "..", "a\r\nb", "a\0", "\ud800"])
def test_a_name_that_is_no_part_of_a_path_is_refused(name: str, model: str) -> None:
    assert refused(name, model=model).failure == "refused"


@pytest.mark.parametrize("name", ["azure", "bedrock", "gemini"])
def test_a_slash_in_a_name_does_not_part_it(name: str) -> None:
    assert "/a%2F..%2Fb" in built(name, model="a/../b").url


@pytest.mark.parametrize("model", ["@cf/../../user", "@cf/./b", "@cf//b", "/a", "a/"])
def test_cloudflares_names_have_parts_and_none_leads_away(model: str) -> None:
    assert refused("cloudflare", model=model).failure == "refused"


def test_geminis_names_carry_no_method() -> None:
    assert refused("gemini", model="m:delete").failure == "refused"


def test_azures_version_stays_in_its_place() -> None:
    url = built("azure", options={"api_version": "1&x=2#"}).url
    assert url.endswith("?api-version=1%26x%3D2%23")


@EVERY
def test_text_that_is_no_unicode_is_the_callers_fault(name: str) -> None:
    error = refused(name, {"texts": ["\ud800"]})
    assert error.failure == "invalid_request"
    assert error.message.startswith("input: ")


@EVERY
def test_any_text_arrives_as_it_is(name: str) -> None:
    text = 'a "b" \\ \0 \x7f \u2028 é 😀 </script>'
    fields = orjson.loads(built(name, {"texts": [text]}).body)
    assert text in _strings(fields)


def _strings(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [found for child in children for found in _strings(child)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cohere", ["search_query", "search_document", "classification", "clustering", None]),
        ("voyage", ["query", "document", None, None, None]),
        ("jina", ["retrieval.query", "retrieval.passage", "classification", "separation", "text-matching"]),
        (
            "gemini",
            ["RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "CLASSIFICATION", "CLUSTERING", "SEMANTIC_SIMILARITY"],
        ),
        ("nomic", ["search_query", "search_document", "classification", "clustering", None]),
    ],
)
def test_an_input_type_is_told_in_the_providers_own_words(name: str, words: list[str | None]) -> None:
    for ours, word in zip(["query", "document", "classification", "clustering", "similarity"], words, strict=True):
        if word is not None:
            assert said(name, ours) == word
            assert said(name, word) == word
        elif name != "jina":
            assert refused(name, {"input_type": ours}).failure == "invalid_request"
    assert said(name, "search_query") == said(name, "RETRIEVAL_QUERY") == said(name, "retrieval.query") == words[0]
    assert said(name, "passage") == words[1]


def test_without_an_input_type_none_is_sent_but_where_it_must_be() -> None:
    assert {name: said(name, None) for name in FIELDS} == {**dict.fromkeys(FIELDS), "cohere": "search_document"}


@pytest.mark.parametrize("name", ["cohere", "voyage", "gemini", "nomic"])
def test_an_unknown_input_type_is_refused_by_name(name: str) -> None:
    error = refused(name, {"input_type": "nonsense\n" + "x" * 100})
    assert error.failure == "invalid_request"
    assert error.message.startswith('input_type: "nonsensexxx')
    assert "query, document" in error.message
    assert len(error.message) < 250


def test_an_unknown_input_type_is_passed_to_a_format_that_takes_any() -> None:
    assert said("jina", "code.query") == "code.query"


@pytest.mark.parametrize("name", ["openai", "azure", "mistral", "tei", "ollama", "cloudflare", "bedrock"])
def test_an_input_type_is_not_sent_to_those_who_know_none(name: str) -> None:
    assert built(name, {"input_type": "query"}) == built(name)


@EVERY
def test_the_user_is_told_to_those_only_who_ask_for_it(name: str) -> None:
    assert (b"u-17" in built(name, {"user": "u-17"}).body) == (name in ("openai", "azure"))


def test_titan_takes_one_text() -> None:
    assert refused("bedrock", {"texts": ["a", "b"]}).failure == "invalid_request"
