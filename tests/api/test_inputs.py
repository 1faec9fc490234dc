"""The five forms of `input`: what each takes, and what each refuses by its index."""

from typing import Any

import numpy as np
import pytest

from server import Server, cl100k, cosine

_MODEL_IDS = {"X-Token-Encoding": "model"}
_LARGEST_ORDINARY = 100_255  # of cl100k_base; some special ids follow, others up to 100,276 do not exist


def _parts(*texts: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text} for text in texts]}


@pytest.mark.parametrize("text", ["hello world", "Wörter", "日本語\n", "tabs\tand \U0001f600", "don't  stop"])
def test_every_form_of_a_text_gives_the_same_vector_and_count(live: Server, text: str) -> None:
    ids = cl100k(text)
    plain = live.embed(text)
    for form in ([text], ids, [ids], [_parts(text)]):
        answer = live.embed(form)
        assert answer.tokens() == plain.tokens()
        np.testing.assert_array_equal(answer.vectors(), plain.vectors())


def test_model_ids_pass_untouched(live: Server) -> None:
    text = live.embed("hello world")
    for ids in ([7592, 2088], [101, 7592, 2088, 102], [[7592, 2088]]):
        answer = live.embed(ids, _MODEL_IDS)
        assert answer.tokens() == text.tokens() == 4
        np.testing.assert_array_equal(answer.vectors(), text.vectors())


@pytest.mark.parametrize("headers", [{}, _MODEL_IDS])
def test_ids_may_be_written_as_floats(live: Server, headers: dict[str, str]) -> None:
    """OpenRouter's Python client does so."""
    expected = live.embed([1037, 2000], headers).vectors()
    for ids in ([1037.0, 2000.0], [[1037.0, 2000]], [1037, 2e3]):
        np.testing.assert_array_equal(live.embed(ids, headers).vectors(), expected)
    assert "input[1]" in live.embed([[1], [2, 2.5]], headers).error(400, "invalid_request")["message"]
    live.embed([1e30], headers).error(400, "invalid_request")


def test_a_token_list_each_gives_a_vector_each(live: Server) -> None:
    texts = ["one", "two words", "and three words"]
    answer = live.embed([cl100k(text) for text in texts])
    assert cosine(answer.vectors(), live.embed(texts).vectors()) > 0.9999
    assert answer.tokens() == live.embed(texts).tokens()


def test_text_parts_are_joined_by_lines(live: Server) -> None:
    joined = live.embed([_parts("one", "two")]).vectors()
    np.testing.assert_array_equal(joined, live.embed("one\ntwo").vectors())


def test_ids_cut_in_the_middle_of_a_character_are_taken(live: Server) -> None:
    """LangChain cuts long texts by ids."""
    ids = cl100k("\U0001f9ff")
    assert len(ids) > 1
    assert live.embed(ids[:1]).vectors().shape == (1, 384)


@pytest.mark.parametrize(
    "given", ["", [""], [[]], [], [{"content": []}], [_parts("")], [{"content": [{"type": "text"}]}]]
)
def test_an_empty_input_is_refused(live: Server, given: object) -> None:
    assert live.embed(given).error(400, "invalid_request")["message"].startswith("input")


@pytest.mark.parametrize(
    ("given", "index"),
    [
        (["a", ""], 1),
        (["a", "b", "", ""], 2),
        ([[1], []], 1),
        ([_parts("a"), _parts("")], 1),
        (["a", 1], 1),
        ([1, "a"], 1),
        (["a", [1]], 1),
        ([[1], 2], 1),
        ([[1], "a"], 1),
        ([_parts("a"), "b"], 1),
        (["a", None], 1),
        ([[1], [2, 100_277]], 1),
        ([[1], [-1]], 1),
    ],
)
def test_the_refusal_names_the_index(live: Server, given: object, index: int) -> None:
    assert f"input[{index}]" in live.embed(given).error(400, "invalid_request")["message"]


@pytest.mark.parametrize(
    "given",
    [
        None,
        1,
        True,
        1.5,
        {},
        _parts("a"),
        [None],
        [True],
        [1, 2.5],
        [[1.5]],
        [[True]],
        [["a"]],
        [[[1]]],
        [{}],
        [{"content": "a"}],
    ],
)
def test_other_types_are_refused(live: Server, given: object) -> None:
    assert live.embed(given).error(400, "invalid_request")["message"].startswith("input")


@pytest.mark.parametrize("part", ["image_url", "input_audio", "x" * 1000, ""])
def test_other_modalities_are_refused_by_name(live: Server, part: str) -> None:
    given = [_parts("a"), {"content": [{"type": part, "image_url": {"url": "http://127.0.0.1/"}}]}]
    refused = live.embed(given).error(400, "invalid_request")
    assert "input[1]" in refused["message"]
    assert part.startswith(refused["metadata"]["modality"])
    assert part == "" or refused["metadata"]["modality"] in refused["message"]


@pytest.mark.parametrize("count", [1, 2048])
def test_up_to_2048_items_are_served(live: Server, count: int) -> None:
    assert live.embed(["a"] * count, encoding_format="base64").vectors().shape == (count, 384)


@pytest.mark.parametrize("item", ["a", [1], _parts("a")])
def test_more_items_are_refused(live: Server, item: object) -> None:
    refused = live.embed([item] * 2049).error(400, "invalid_request")
    assert "2,049" in refused["message"]
    assert refused["metadata"]["limit"] == 2048


def test_a_flat_list_of_ids_is_one_input_however_long(live: Server) -> None:
    ids = cl100k("word " * 3000)
    assert len(ids) > 2048
    assert live.embed(ids).vectors().shape == (1, 384)


@pytest.mark.parametrize("given", [0, 1, _LARGEST_ORDINARY])
def test_the_ends_of_the_cl100k_vocabulary_are_served(live: Server, given: int) -> None:
    assert live.embed([given]).vectors().shape == (1, 384)


@pytest.mark.parametrize("given", [-1, 100_256, 100_261, 100_275, 100_277, 2**31, 2**63, 2**64, 2**100])
@pytest.mark.parametrize("nested", [False, True])
def test_ids_that_are_no_cl100k_tokens_are_refused(live: Server, given: int, nested: bool) -> None:
    ids = [1, given]
    refused = live.embed([ids] if nested else ids).error(400, "invalid_request")
    assert "cl100k_base" in refused["message"]
    assert "X-Token-Encoding: model" in refused["message"]


@pytest.mark.parametrize("given", [100_257, 100_258, 100_276])
def test_special_ids_of_cl100k_never_fail_the_server(live: Server, given: int) -> None:
    """<|endoftext|> and its kind: no client sends them for a text."""
    assert live.embed([given, 1]).status in (200, 400)


@pytest.mark.parametrize("given", [-1, 30_522, 2**31, 2**63, 2**100])
def test_ids_outside_the_models_vocabulary_are_refused(live: Server, given: int) -> None:
    refused = live.embed([[7592], [7592, given]], _MODEL_IDS).error(400, "invalid_request")
    assert "input[1]" in refused["message"]
    assert "30521" in refused["message"].replace(",", "")


@pytest.mark.parametrize("name", ["p50k_base", "o200k_base", "MODELS", "x" * 1000])
def test_an_unknown_token_encoding_is_refused(live: Server, name: str) -> None:
    refused = live.embed([1], {"X-Token-Encoding": name}).error(400, "invalid_request")
    assert "X-Token-Encoding" in refused["message"]
    assert len(refused["message"]) < 200


@pytest.mark.parametrize("name", ["cl100k_base", "CL100K_BASE", " cl100k_base "])
def test_the_default_token_encoding_can_be_named(live: Server, name: str) -> None:
    ids = cl100k("hello world")
    named = live.embed(ids, {"X-Token-Encoding": name})
    np.testing.assert_array_equal(named.vectors(), live.embed(ids).vectors())
