"""Inputs over 256 and over 8,192 tokens: windows by default, the reference's cut or a refusal when asked."""

import numpy as np
import pytest

from server import Server, cosine

# "a" and each number of one digit is one token; both ends of a text count for [CLS] and [SEP].
_WORDS = ["a", "b", "c", "d", "e", "f", "g", "h", "1", "2", "3", "4", "5", "6", "7", "8", "9"]


def _text(tokens: int) -> str:
    return " ".join(_WORDS[i % len(_WORDS)] for i in range(tokens - 2))


@pytest.mark.parametrize("tokens", [3, 255, 256])
@pytest.mark.parametrize("truncate", [None, True, False, "end", "none"])
def test_up_to_256_tokens_the_rule_changes_nothing(live: Server, tokens: int, truncate: object) -> None:
    answer = live.embed(_text(tokens), truncate=truncate)
    assert answer.tokens() == tokens
    np.testing.assert_array_equal(answer.vectors(), live.embed(_text(tokens)).vectors())
    assert "x-embedding-truncated" not in answer.headers


@pytest.mark.parametrize("tokens", [257, 510, 511, 1000, 8191, 8192])
def test_windows_embed_all_tokens_and_bill_them_once(live: Server, tokens: int) -> None:
    answer = live.embed(_text(tokens))
    assert answer.tokens() == tokens
    words = _text(tokens).split()
    parts = [words[start : start + 254] for start in range(0, len(words), 254)]
    vectors = live.embed([" ".join(part) for part in parts]).vectors().astype(np.float64)
    mean = np.average(vectors, axis=0, weights=[len(part) + 2 for part in parts])
    expected = (mean / np.linalg.norm(mean)).astype(np.float32)
    assert cosine(answer.vectors(), expected) > 0.9999


@pytest.mark.parametrize("truncate", [True, "end"])
@pytest.mark.parametrize("tokens", [257, 8193, 20_000])
def test_truncation_cuts_at_256_bills_256_and_says_so(live: Server, tokens: int, truncate: object) -> None:
    answer = live.embed(["short", _text(tokens)], truncate=truncate)
    assert answer.tokens() == 3 + 256
    assert answer.headers["x-embedding-truncated"] == "1"
    expected = live.embed(_text(256)).vectors()[0]
    assert cosine(answer.vectors()[1], expected) > 0.9999


@pytest.mark.parametrize("truncate", [False, "none"])
def test_refusal_names_index_count_and_limit(live: Server, truncate: object) -> None:
    refused = live.embed(["short", _text(257)], truncate=truncate).error(400, "context_length_exceeded")
    metadata = refused["metadata"]
    assert (metadata["index"], metadata["tokens"], metadata["limit"]) == (1, 257, 256)
    assert "input[1]" in refused["message"]
    assert "257" in refused["message"]
    assert "256" in refused["message"]


@pytest.mark.parametrize("tokens", [8193, 10_000])
def test_over_8192_tokens_is_refused_by_default(live: Server, tokens: int) -> None:
    refused = live.embed(["a", "b", _text(tokens)]).error(400, "context_length_exceeded")
    metadata = refused["metadata"]
    assert (metadata["index"], metadata["tokens"], metadata["limit"]) == (2, tokens, 8192)
    assert f"{tokens:,}" in refused["message"]
    assert "8,192" in refused["message"]


def test_token_ids_follow_the_same_rules(live: Server) -> None:
    ids = [1037] * 300
    header = {"X-Token-Encoding": "model"}
    assert live.embed(ids, header).tokens() == 302
    assert live.embed(ids, header, truncate=True).tokens() == 256
    assert live.embed(ids, header, truncate=False).error(400, "context_length_exceeded")["metadata"]["tokens"] == 302
    assert live.embed([1037] * 8191, header).error(400, "context_length_exceeded")["metadata"]["tokens"] == 8193


@pytest.mark.parametrize("value", ["start", "", "END", 1, 0, [], {}])
def test_other_values_of_truncate_are_refused(live: Server, value: object) -> None:
    assert live.embed("a", truncate=value).error(400, "invalid_request")["message"].startswith("truncate:")


def test_refused_and_served_inputs_do_not_mix(live: Server) -> None:
    """One input that is too long fails the request, and nothing of it is billed."""
    before = live.metrics()["embedrouter_prompt_tokens_total"]
    live.embed(["short"] * 10 + [_text(9000)]).error(400, "context_length_exceeded")
    assert live.metrics()["embedrouter_prompt_tokens_total"] == before
