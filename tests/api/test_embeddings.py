"""POST /embeddings: vectors, their two encodings, and what the answer says about them."""

import json
import re
from decimal import Decimal

import numpy as np
import pytest

from minilm.golden import golden
from server import MODEL, PICO_PER_TOKEN, Server, cosine, sentences

_TEXTS = ["The quick brown fox", "jumps over the lazy dog", "a", "Привет, мир", "词向量", "\U0001f600"]


def test_the_vectors_are_the_reference_implementations(live: Server) -> None:
    """Over HTTP, in both encodings, for short and long texts."""
    facts = golden()
    chosen = [i for i, tokens in enumerate(facts.tokens) if tokens <= 8192 and facts.texts[i]][::3]
    found = live.embed([facts.texts[i] for i in chosen], encoding_format="base64")
    assert cosine(found.vectors(), facts.windows[chosen]) > 0.999
    cut = live.embed([facts.texts[i] for i in chosen], truncate=True)
    assert cosine(cut.vectors(), facts.seq256[chosen]) > 0.999


def test_vectors_have_384_dimensions_and_unit_length_and_keep_the_order(live: Server) -> None:
    together = live.embed(_TEXTS).vectors()
    assert together.shape == (len(_TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for row, text in enumerate(_TEXTS):
        alone = live.embed(text).vectors()
        assert cosine(alone, together[row]) > 0.9999
        assert cosine(alone, together[row - 1]) < 0.9


def test_the_same_text_always_gives_the_same_vector(live: Server) -> None:
    first = live.embed("the same text", seed=1)
    again = live.embed("the same text", seed=2)
    assert first.json()["data"] == again.json()["data"]


def test_floats_are_the_shortest_decimals_of_the_very_float32_that_base64_carries(live: Server) -> None:
    as_floats = live.embed(_TEXTS, encoding_format="float")
    as_base64 = live.embed(_TEXTS, encoding_format="base64")
    assert as_floats.vectors().tobytes() == as_base64.vectors().tobytes()
    written = re.findall(r'"embedding":\[([^\]]+)\]', as_floats.body.decode())
    assert len(written) == len(_TEXTS)
    for number in ",".join(written).split(","):
        shortest = np.format_float_scientific(np.float32(number), unique=True, trim="-")
        assert Decimal(number) == Decimal(shortest)


def test_float_is_the_default_encoding(live: Server) -> None:
    default = live.embed("hello").json()["data"][0]["embedding"]
    assert isinstance(default, list)
    assert default == live.embed("hello", encoding_format="float").json()["data"][0]["embedding"]
    assert isinstance(live.embed("hello", encoding_format="base64").json()["data"][0]["embedding"], str)


@pytest.mark.parametrize("value", ["", "BASE64", "float16", 1, True, ["float"]])
def test_an_unknown_encoding_is_refused(live: Server, value: object) -> None:
    assert "encoding_format" in live.embed("hello", encoding_format=value).error(400, "invalid_request")["message"]


@pytest.mark.parametrize("dimensions", [1, 2, 100, 383, 384])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_dimensions_cut_and_normalise_again(live: Server, dimensions: int, encoding: str) -> None:
    full = live.embed(_TEXTS).vectors().astype(np.float64)[:, :dimensions]
    cut = live.embed(_TEXTS, dimensions=dimensions, encoding_format=encoding).vectors()
    assert cut.shape == (len(_TEXTS), dimensions)
    np.testing.assert_allclose(cut, full / np.linalg.norm(full, axis=1, keepdims=True), atol=2e-6)


@pytest.mark.parametrize("value", [0, -1, 385, 10**9, "384", 1.5, 384.0, True, [1], 2**63, 2**1000])
def test_wrong_dimensions_are_refused(live: Server, value: object) -> None:
    refused = live.embed("hello", dimensions=value).error(400, "invalid_request")
    assert "dimensions" in refused["message"]
    assert refused["metadata"]["field"] == "dimensions"
    assert len(refused["message"]) < 500


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ("hello", 3),
        ("hello world", 4),
        (["hello", "hello world"], 7),
        ([7592], None),
        ("a " * 500, 502),
        (["a " * 254, "a " * 255], 256 + 257),
    ],
)
def test_usage_counts_wordpiece_tokens_and_costs_exactly(live: Server, given: object, tokens: int | None) -> None:
    answer = live.embed(given)
    billed = answer.tokens()
    assert tokens is None or billed == tokens
    usage = answer.json()["usage"]
    exact = Decimal(billed * PICO_PER_TOKEN) / 10**12
    assert Decimal(repr(usage["cost"])) == exact
    assert usage["is_byok"] is False
    assert usage["cost_details"] == {
        "upstream_inference_cost": None,
        "upstream_inference_prompt_cost": usage["cost"],
        "upstream_inference_completions_cost": 0,
    }


def test_the_answer_names_model_provider_and_generation(live: Server) -> None:
    answer = live.embed("hello")
    document = answer.json()
    assert list(document) == ["object", "data", "model", "id", "provider", "usage"]
    assert document["model"] == MODEL
    assert document["provider"] == "Builtin"
    assert re.fullmatch(r"gen-\d{10}-[0-9a-f]{20}", document["id"])
    assert answer.headers["x-generation-id"] == document["id"]
    assert answer.headers["content-type"] == "application/json"
    assert live.embed("hello").json()["id"] != document["id"]


@pytest.mark.parametrize(
    "name",
    [
        MODEL,
        MODEL.upper(),
        "sentence-transformers/all-MiniLM-L6-v2",
        "all-minilm-l6-v2",
        "all-MiniLM-L6-v2",
        f"{MODEL}-20251117",
    ],
)
def test_every_alias_serves_and_the_answer_names_the_real_model(live: Server, name: str) -> None:
    assert live.embed("hello", model=name).json()["model"] == MODEL


@pytest.mark.parametrize("name", ["openai/gpt-4", "all-minilm-l6", f" {MODEL}", f"{MODEL}:free", "\0", "x" * 5000])
def test_an_unknown_model_is_not_found(live: Server, name: str) -> None:
    missing = live.embed("hello", model=name).error(404, "not_found")
    ended = name.endswith(":free")  # of a model that is there, and costs something
    assert missing["availability"]["code"] == ("free_variant_ended" if ended else "model_not_found")
    assert missing["availability"]["retryable"] is False
    assert name.startswith(missing["availability"]["requested_models"][0])
    assert len(missing["message"]) < 500


def test_a_near_miss_is_told_the_nearest_name(live: Server) -> None:
    assert "all-minilm-l6-v2" in live.embed("hello", model="all-minilm-l6").error(404, "not_found")["message"]


@pytest.mark.parametrize("value", ["", 1, None, [MODEL], {}])
def test_a_model_must_be_a_name(live: Server, value: object) -> None:
    assert live.embed("hello", model=value).error(400, "invalid_request")["message"].startswith("model:")


@pytest.mark.parametrize("field", ["model", "input"])
def test_model_and_input_are_required(live: Server, field: str) -> None:
    body = {"model": MODEL, "input": "hello"}
    del body[field]
    refused = live.post(body).error(400, "invalid_request")
    assert refused["message"] == f"{field}: is required"
    assert refused["metadata"]["field"] == field


@pytest.mark.parametrize(
    ("truncate", "rule"),
    [(None, "windows"), (True, "truncate"), ("end", "truncate"), (False, "refuse"), ("none", "refuse")],
)
def test_the_fingerprint_names_weights_precision_and_rule(live: Server, truncate: object, rule: str) -> None:
    fingerprint = live.embed("hello", truncate=truncate).headers["x-embedding-fingerprint"]
    precision = live.get("/ready").json()["precision"]
    assert fingerprint == f"sha256:53aa51172d142c89;precision={precision};long-inputs={rule}"


def test_both_bases_serve_the_same(live: Server) -> None:
    body = {"model": MODEL, "input": "hello"}
    other = live.request("POST", "/v1/embeddings", body, key=live.key)
    assert other.json()["data"] == live.post(body).json()["data"]


def test_an_answer_of_2048_rows_is_complete_and_in_order(live: Server) -> None:
    """Large answers are encoded in pieces on another thread."""
    texts = sentences(2048, 1, seed=1)
    answer = live.embed(texts, encoding_format="base64")
    found = answer.vectors()
    assert found.shape == (2048, 384)
    for row in (0, 63, 64, 1000, 2047):
        assert cosine(live.embed(texts[row]).vectors(), found[row]) > 0.9999
    assert json.loads(answer.body)["usage"]["prompt_tokens"] >= 3 * 2048
