"""POST /similarity: its three forms, its bounds, and what is wrong with a body."""

from typing import Any

import numpy as np
import pytest

from server import KEY, MODEL, PICO_PER_TOKEN, Answer, Server, rows, sentences

_CAT, _KITTEN, _TAX = "A cat sits on the mat.", "A kitten is on the rug.", "Tax is due in April."


def similarity(server: Server, **fields: Any) -> Answer:
    return server.request("POST", "/api/v1/similarity", {"model": MODEL, **fields}, key=KEY)


@pytest.fixture(scope="module")
def cosines(live: Server) -> Any:
    """(3, 3) of the cat, the kitten and the tax."""
    vectors = live.embed([_CAT, _KITTEN, _TAX]).vectors().astype(np.float64)
    return vectors @ vectors.T


def test_pairs_have_a_score_each(live: Server, cosines: Any) -> None:
    answer = similarity(live, pairs=[[_CAT, _KITTEN], [_CAT, _TAX], [_TAX, _TAX]]).json()
    np.testing.assert_allclose(answer["scores"], [cosines[0, 1], cosines[0, 2], 1.0], atol=1e-6)
    assert answer["scores"][2] == 1.0
    assert "matrix" not in answer


def test_two_lists_have_a_row_for_each_text_on_the_left(live: Server, cosines: Any) -> None:
    answer = similarity(live, left=[_TAX, _CAT], right=[_KITTEN, _CAT, _KITTEN]).json()
    np.testing.assert_allclose(answer["matrix"], cosines[np.ix_([2, 0], [1, 0, 1])], atol=1e-6)
    assert "scores" not in answer


def test_one_list_is_compared_with_itself(live: Server, cosines: Any) -> None:
    matrix = rows(similarity(live, texts=[_CAT, _KITTEN, _TAX], encoding_format="float").json()["matrix"])
    np.testing.assert_allclose(matrix, cosines, atol=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.diag(matrix).tolist() == [1.0, 1.0, 1.0]


def test_texts_are_billed_once_as_one_generation_of_its_own_kind(managed: Server) -> None:
    answer = similarity(managed, pairs=[[_CAT, _KITTEN], [_KITTEN, _CAT], [_CAT, _CAT]])
    document = answer.json()
    usage = document["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] == managed.embed([_CAT, _KITTEN]).tokens()
    assert round(usage["cost"] * 1e12) == usage["total_tokens"] * PICO_PER_TOKEN
    assert (document["model"], document["provider"]) == (MODEL, "Builtin")
    kept = managed.manage("GET", f"/generation?id={document['id']}").json()["data"]
    assert kept["api_type"] == "similarity"
    assert answer.headers["x-generation-id"] == document["id"]


def test_a_large_matrix_of_few_texts_is_whole(live: Server) -> None:
    texts = sentences(40, 3)
    left = [texts[i % 40] for i in range(3000)]
    matrix = rows(similarity(live, left=left, right=texts).json()["matrix"])
    assert matrix.shape == (3000, 40)
    np.testing.assert_array_equal(matrix[:40], matrix[2960:])
    assert matrix[range(3000), [i % 40 for i in range(3000)]].tolist() == [1.0] * 3000


def test_thousands_of_pairs_of_few_texts_are_scored_each(live: Server) -> None:
    pairs = [[_CAT, _KITTEN], [_CAT, _TAX]] * 2500
    scores = similarity(live, pairs=pairs).json()["scores"]
    assert len(scores) == 5000
    assert len(set(scores)) == 2
    assert scores[0] == scores[4998] > scores[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "send exactly one of pairs, texts, or left and right; this request has none"),
        ({"texts": ["a"], "pairs": [["a", "b"]]}, "this request has pairs, texts"),
        ({"texts": ["a"], "left": ["a"]}, "this request has texts, left or right"),
        ({"left": ["a"]}, "right: is required"),
        ({"right": ["a"]}, "left: is required"),
        ({"texts": []}, "texts: expected array of length >= 1"),
        ({"pairs": []}, "pairs: expected array of length >= 1"),
        ({"pairs": [["a", "b"], ["a"]]}, "pairs[1]: expected array of length >= 2"),
        ({"pairs": [["a", "b", "c"]]}, "pairs[0]: expected array of length <= 2"),
        ({"pairs": [["a", "b"], ["a", ""]]}, "pairs[1][1] is empty"),
        ({"left": ["a"], "right": ["b", ""]}, "right[1] is empty"),
        ({"texts": ["a", 1]}, "texts[1]: expected str, got int"),
        ({"texts": ["a"], "encoding_format": "base64"}, "encoding_format: "),
        ({"texts": ["a"] * 1025}, "1,025 x 1,025 are 1,050,625 scores, the limit is 1,048,576"),
        ({"left": ["a"], "right": [str(i) for i in range(2048)]}, "right[2047] is the 2,049th different text"),
        ({"pairs": [["a", "b"], ["c", "d " * 300]], "truncate": False}, "pairs[1][1] has 302 tokens"),
    ],
)
def test_what_is_wrong_is_named(live: Server, fields: dict[str, Any], message: str) -> None:
    answer = similarity(live, **fields)
    error = answer.error(400, "context_length_exceeded" if "302 tokens" in message else "invalid_request")
    assert message in error["message"]
    assert "input[" not in error["message"]
