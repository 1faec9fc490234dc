"""POST /tokenize: the counts are those that /embeddings bills, and it costs nothing."""

from typing import Any

import pytest

from server import KEY, MANAGER, MODEL, Answer, Server


def tokenize(server: Server, given: Any, **fields: Any) -> Answer:
    return server.request("POST", "/api/v1/tokenize", {"model": MODEL, "input": given, **fields}, key=KEY)


def test_pieces_are_at_their_places_and_ids_embed_to_the_same_vector(live: Server) -> None:
    text = "Embeddings, tokenized: naïve café 日本"
    answer = tokenize(live, text).json()
    (one,) = answer["data"]
    assert (one["index"], one["windows"], one["too_long"], one["exact"]) == (0, 1, False, True)
    assert one["tokens"] == len(one["ids"]) == len(one["pieces"]) + 2 == live.embed(text).tokens()
    assert one["ids"][1:-1] == [piece["id"] for piece in one["pieces"]]
    shown = {text[piece["start"] : piece["end"]]: piece["text"] for piece in one["pieces"]}
    assert (shown["ding"], shown["café"], shown["日"]) == ("##ding", "cafe", "日")
    by_ids = live.embed([one["ids"]], {"X-Token-Encoding": "model"})
    assert by_ids.vectors().tolist() == live.embed(text).vectors().tolist()


@pytest.mark.parametrize("words", [3, 254, 255, 600])
@pytest.mark.parametrize("truncate", [None, True])
def test_counts_are_those_that_are_billed(live: Server, words: int, truncate: bool | None) -> None:
    text = "word " * words
    billed = live.embed(text, truncate=truncate).tokens()
    for pieces in (True, False, None):
        (one,) = tokenize(live, [text], truncate=truncate, pieces=pieces).json()["data"]
        assert one["tokens"] == billed
        assert one["windows"] == (1 if truncate or words <= 254 else -(-words // 254))
        assert ("ids" in one, "pieces" in one) == (pieces is not False,) * 2


def test_what_is_too_long_to_be_embedded_is_said_to_be(live: Server) -> None:
    texts = ["word " * 8190, "word " * 8191, "word " * 40_000]
    fits, long, longest = tokenize(live, texts, pieces=False).json()["data"]
    assert (fits["tokens"], fits["too_long"], fits["exact"]) == (8192, False, True)
    assert (long["tokens"], long["too_long"]) == (8193, True)
    assert longest["tokens"] > 8192
    assert (longest["too_long"], longest["exact"]) == (True, False)
    assert tokenize(live, "word " * 300, truncate=False).json()["data"][0]["too_long"]


def test_it_costs_nothing_and_leaves_no_generation(managed: Server) -> None:
    secret, item = managed.new_key(limit=1)
    sent = {"model": MODEL, "input": ["hello", "world"]}
    answer = managed.request("POST", "/api/v1/tokenize", sent, key=secret)
    assert answer.json()["usage"] == {"prompt_tokens": 0, "total_tokens": 0, "cost": 0.0}
    assert answer.json()["total_tokens"] == 6
    assert "x-generation-id" not in answer.headers
    told = managed.manage("GET", f"/keys/{item['hash']}").json()["data"]
    assert (told["usage"], told["limit_remaining"]) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input": ""}, "input[0] is empty"),
        ({"input": ["a", ""]}, "input[1] is empty"),
        ({"input": []}, "input: expected array of length >= 1"),
        ({"input": ["a"] * 2049}, "input: expected array of length <= 2048"),
        ({"input": [1, 2]}, "input[0]: expected str, got int"),
        ({"input": "a " * 20_000}, "the limit is 32,768"),
        ({"input": ["a " * 600_000], "pieces": False}, "the limit is 1,048,576; send fewer"),
        ({"input": "a", "pieces": 1}, "pieces: expected bool"),
    ],
)
def test_what_is_wrong_is_named(live: Server, fields: dict[str, Any], message: str) -> None:
    given = fields.pop("input")
    assert message in tokenize(live, given, **fields).error(400, "invalid_request")["message"]


def test_another_models_tokenizer_is_not_here(live: Server) -> None:
    tokenize(live, "a", model="acme/none").error(404, "not_found")
    tokenize(live, "a", provider={"only": ["other"]}).error(404, "not_found")


def test_management_keys_count_no_tokens(managed: Server) -> None:
    sent = {"model": MODEL, "input": "a"}
    managed.request("POST", "/api/v1/tokenize", sent, key=MANAGER).error(403, "permission_denied")
