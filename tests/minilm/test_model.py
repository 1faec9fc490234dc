"""The model as Python users have it, against the vectors of the reference implementation."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedrouter.errors import (
    ContextLengthExceededError,
    InvalidRequestError,
    OverloadedError,
    SettingsError,
    WeightsError,
)
from embedrouter.minilm import MiniLM, cpu
from embedrouter.minilm.engines.choose import choose
from embedrouter.minilm.model import long_input_rule
from embedrouter.minilm.weights import Weights
from embedrouter.minilm.windows import LongInput, Vectors

from .golden import golden

CLOSE = 5e-3  # largest difference of a component that a batch may make in bfloat16; see the test that says so


@pytest.fixture(scope="module")
def model_bf16(weights: Weights, model: MiniLM) -> MiniLM:
    if cpu.computes_bfloat16() is None:
        pytest.skip(reason="this CPU has neither AMX-BF16 nor AVX512-BF16: bfloat16 is not what anyone gets here")
    assert model.engine.precision == "bfloat16"
    return model


def cosines(found: Vectors, reference: Vectors) -> NDArray[np.float64]:
    left, right = found.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products: NDArray[np.float64] = np.einsum("nd,nd->n", left, right) / norms
    return products


def assert_unit(vectors: Vectors) -> None:
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, rtol=0, atol=1e-6)


# --- the reference


@pytest.mark.parametrize(("truncate", "rule"), [(True, "seq256"), (None, "windows")])
def test_float32_gives_the_reference_vectors(model_fp32: MiniLM, truncate: bool | None, rule: str) -> None:
    reference: Vectors = getattr(golden(), rule)
    found = model_fp32.encode(golden().texts, truncate=truncate)
    assert_unit(found)
    difference = np.abs(found - reference).max(axis=1)
    worst = int(difference.argmax())
    assert difference[worst] <= 2e-6, golden().names[worst]
    assert cosines(found, reference).min() >= 0.999999


@pytest.mark.parametrize(("truncate", "rule"), [(True, "seq256"), (None, "windows")])
def test_bfloat16_gives_nearly_the_reference_vectors(model_bf16: MiniLM, truncate: bool | None, rule: str) -> None:
    reference: Vectors = getattr(golden(), rule)
    found = model_bf16.encode(golden().texts, truncate=truncate)
    assert_unit(found)
    similar = cosines(found, reference)
    worst = int(similar.argmin())
    assert similar[worst] >= 0.9999, golden().names[worst]


def test_tokens_are_counted_as_the_reference_counts(model_fp32: MiniLM) -> None:
    texts, tokens = golden().texts, golden().tokens
    assert model_fp32.count_tokens(texts) == tokens
    assert model_fp32.count_tokens(texts, truncate=True) == [min(count, 256) for count in tokens]
    assert model_fp32.count_tokens("one text") == [4]
    assert model_fp32.count_tokens([]) == []


# --- what a batch changes


def alone_and_together(model: MiniLM) -> tuple[Vectors, Vectors]:
    # Every third, but all kinds: what is slow here is that each text alone is a shape of its own.
    texts = [text for text, tokens in zip(golden().texts, golden().tokens, strict=True) if tokens < 600][::3]
    assert {len(text) > 1000 for text in texts} == {True, False}
    return np.concatenate([model.encode(text) for text in texts]), model.encode(texts)


def test_a_batch_changes_nothing_in_float32(model_fp32: MiniLM) -> None:
    alone, together = alone_and_together(model_fp32)
    assert np.abs(alone - together).max() <= 1e-6


def test_a_batch_changes_nothing_at_all_in_the_native_engine(model: MiniLM) -> None:
    if model.engine.name != "native":
        pytest.skip(reason=f"not the native engine here: {model.engine.reason}")
    alone, together = alone_and_together(model)
    np.testing.assert_array_equal(alone, together)


def test_a_batch_changes_little_in_bfloat16_of_openvino(weights: Weights, openvino: None) -> None:
    if cpu.computes_bfloat16() is None:
        pytest.skip(reason="this CPU has neither AMX-BF16 nor AVX512-BF16: bfloat16 is not what anyone gets here")
    with MiniLM(weights.folder, engine="openvino", precision="bfloat16") as model:
        alone, together = alone_and_together(model)
    assert np.abs(alone - together).max() <= CLOSE
    assert cosines(alone, together).min() >= 0.9999


def test_the_same_text_alone_gives_the_same_bits(model: MiniLM) -> None:
    np.testing.assert_array_equal(model.encode(golden().texts[0]), model.encode(golden().texts[0]))


# --- the forms of input


def test_a_text_is_a_list_of_one(model_fp32: MiniLM) -> None:
    vector = model_fp32.encode("a text")
    assert vector.shape == (1, 384)
    np.testing.assert_array_equal(vector, model_fp32.encode(["a text"]))
    np.testing.assert_array_equal(vector, model_fp32.encode(("a text",)))


def test_nothing_gives_nothing(model_fp32: MiniLM) -> None:
    assert model_fp32.encode([]).shape == (0, 384)
    assert model_fp32.encode([], dimensions=7).shape == (0, 7)


def test_ids_with_or_without_special_tokens_are_their_text(model_fp32: MiniLM) -> None:
    text = "tokens are words, or parts of words"
    (content,) = model_fp32.tokenizer.contents([text], 1000)
    ids = content.ids.tolist()
    expected = model_fp32.encode(text)
    for form in (ids, [101, *ids, 102], [101, *ids], [*ids, 102], tuple(ids)):
        np.testing.assert_allclose(model_fp32.encode([form]), expected, rtol=0, atol=1e-6)


def test_long_ids_follow_the_same_rules_as_long_texts(model_fp32: MiniLM) -> None:
    text = "window " * 600
    (content,) = model_fp32.tokenizer.contents([text], 1000)
    for truncate in (None, True):
        by_ids = model_fp32.encode([content.ids.tolist()], truncate=truncate)
        np.testing.assert_allclose(by_ids, model_fp32.encode(text, truncate=truncate), rtol=0, atol=1e-6)
    with pytest.raises(ContextLengthExceededError):
        model_fp32.encode([content.ids.tolist()], truncate=False)


@pytest.mark.parametrize(
    "inputs",
    [["text", 1], ["text", [101]], [[101], "text"], [101, 102], [[101], None], [None], [["101"]], [[1.0]], [b"bytes"]],
)
def test_what_is_neither_text_nor_ids_is_refused_by_index(model_fp32: MiniLM, inputs: list[object]) -> None:
    with pytest.raises(InvalidRequestError, match=r"input\[\d\]"):
        model_fp32.encode(inputs)  # type: ignore[arg-type]


def test_ids_outside_the_vocabulary_are_refused(model_fp32: MiniLM) -> None:
    with pytest.raises(InvalidRequestError, match=r"input\[1\].*30521"):
        model_fp32.encode([[5], [30522]])


# --- dimensions


@pytest.mark.parametrize("dimensions", [1, 2, 100, 256, 383])
def test_fewer_dimensions_are_the_first_ones_normalised(model_fp32: MiniLM, dimensions: int) -> None:
    whole = model_fp32.encode(golden().texts[:5])
    cut = model_fp32.encode(golden().texts[:5], dimensions=dimensions)
    assert_unit(cut)
    expected = whole[:, :dimensions] / np.linalg.norm(whole[:, :dimensions], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dimensions", [0, -1, 385])
def test_other_dimensions_are_refused(model_fp32: MiniLM, dimensions: int) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 384"):
        model_fp32.encode("text", dimensions=dimensions)


# --- long inputs and many inputs


def test_long_inputs_are_refused_when_asked(model_fp32: MiniLM) -> None:
    with pytest.raises(ContextLengthExceededError) as caught:
        model_fp32.encode(["short", "word " * 255], truncate=False)
    assert caught.value.metadata == {"index": 1, "tokens": 257, "tokens_exact": True, "limit": 256}
    assert model_fp32.encode("word " * 254, truncate=False).shape == (1, 384)
    for count in (model_fp32.count_tokens, model_fp32.encode):
        with pytest.raises(ContextLengthExceededError, match="8,193"):
            count("word " * 8191)


def test_many_texts_keep_their_places_and_report_progress(model: MiniLM) -> None:
    texts = [f"{i % 50}" for i in range(2048 * 3 + 5)]
    seen: list[tuple[int, int]] = []
    vectors = model.encode(texts, progress=lambda done, total: seen.append((done, total)))
    fifty = model.encode(texts[:50])
    assert cosines(vectors, fifty[np.arange(len(texts)) % 50]).min() > 0.999
    assert (vectors @ fifty.T).argmax(axis=1).tolist() == [i % 50 for i in range(len(texts))]
    assert seen == [(2048, 6149), (4096, 6149), (6144, 6149), (6149, 6149)]


def test_progress_true_shows_a_bar_on_stderr(model: MiniLM, capsys: pytest.CaptureFixture[str]) -> None:
    model.encode(["one", "two"], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2/2" in shown.err


def test_an_error_in_a_later_part_names_the_callers_index(model: MiniLM) -> None:
    texts = ["short"] * 2100
    texts[2099] = "word " * 300
    with pytest.raises(ContextLengthExceededError, match=r"input\[2099\]") as caught:
        model.encode(texts, truncate=False)
    assert caught.value.metadata["index"] == 2099
    with pytest.raises(InvalidRequestError, match=r"input\[2098\]"):
        model.encode([[5]] * 2098 + [[-5]])
    with pytest.raises(InvalidRequestError, match=r"input\[2097\]"):
        model.encode(["fine"] * 2097 + ["\ud800"])


def test_a_progress_function_that_raises_stops_the_work(model: MiniLM) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.encode([f"{i % 500}" for i in range(6000)], progress=stop)
    assert model.encode("still alive").shape == (1, 384)


def test_eight_threads_get_their_own_right_answers(model: MiniLM) -> None:
    texts = [text for text, tokens in zip(golden().texts, golden().tokens, strict=True) if tokens <= 24]
    assert len(texts) >= 40
    expected = model.encode(texts)
    wrong: list[str] = []

    def caller(number: int) -> None:
        mine = texts[number::8]
        for _ in range(3):
            together = model.encode(mine)
            apart = np.concatenate([model.encode(text) for text in mine[:4]])
            for found, names in ((together, expected[number::8]), (apart, expected[number::8][:4])):
                if found.shape != names.shape or cosines(found, names).min() < 0.9999:
                    wrong.append(f"caller {number}")

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- similarity


def test_similarity_is_the_cosine_of_all_pairs(model_fp32: MiniLM) -> None:
    scores = model_fp32.similarity(["king", "carrot"], ["queen", "vegetable", "king"])
    assert scores.shape == (2, 3)
    assert scores[0, 2] == pytest.approx(1, abs=1e-6)
    assert np.abs(scores).max() <= 1
    assert scores[0, 0] > scores[0, 1]
    assert scores[1, 1] > scores[1, 0]
    left, right = model_fp32.encode(["king", "carrot"]), model_fp32.encode(["queen", "vegetable", "king"])
    np.testing.assert_allclose(scores, left @ right.T, rtol=0, atol=1e-6)
    assert model_fp32.similarity("king", "queen").shape == (1, 1)


# --- loading, naming, closing


def test_a_fingerprint_names_what_decides_a_vector(model_fp32: MiniLM) -> None:
    assert model_fp32.fingerprint() == "sha256:53aa51172d142c89;precision=float32;long-inputs=windows"
    prints = {model_fp32.fingerprint(rule) for rule in LongInput}
    assert len(prints) == len(LongInput)


def test_a_fingerprint_tells_the_rule_for_long_inputs(model_fp32: MiniLM) -> None:
    for rule in LongInput:
        assert long_input_rule(model_fp32.fingerprint(rule)) is rule
        assert LongInput.of(rule.truncate) is rule
    for other in (None, "", "another model", "sha256:0;long-inputs=otherwise"):
        assert long_input_rule(other) is LongInput.WINDOWS


def test_int8_is_near_the_reference_and_named_in_the_fingerprint(weights: Weights) -> None:
    try:
        choose(precision="int8")
    except SettingsError as error:
        pytest.skip(reason=error.message)
    with MiniLM(weights.folder, precision="int8") as model:
        assert "precision=int8;" in model.fingerprint()
        found = model.encode(golden().texts)
    similar = cosines(found, golden().windows)
    worst = int(similar.argmin())
    assert similar[worst] >= 0.995, golden().names[worst]


def test_the_model_is_not_loaded_from_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is missing"):
        MiniLM(str(tmp_path))


_FORK = """
import os, sys
from embedrouter.minilm import MiniLM

model = MiniLM(sys.argv[1], engine=sys.argv[2])
before = model.encode(["a text", "another"])
child = os.fork()
if child == 0:
    try:
        same = (model.encode(["a text", "another"]) == before).all()
        model.close()
        print("same bits" if same else "other bits", flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
assert (model.encode(["a text", "another"]) == before).all()
model.close()
"""


@pytest.mark.parametrize(("engine", "said"), [("native", "same bits"), ("openvino", "load it after that")])
def test_a_child_goes_on_with_the_native_engine_and_is_told_with_the_other(
    weights: Weights, model: MiniLM, engine: str, said: str, request: pytest.FixtureRequest
) -> None:
    if engine == "openvino":
        request.getfixturevalue("openvino")
    if engine == "native" != model.engine.name:
        pytest.skip(reason=f"not the native engine here: {model.engine.reason}")
    command = [sys.executable, "-c", _FORK, str(weights.folder), engine]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert said in done.stdout


def test_leaving_the_context_stops_the_threads(weights: Weights) -> None:
    before = set(threading.enumerate())
    with MiniLM(str(weights.folder), threads=2, precision="float32") as model:
        assert model.engine.workers == 2
        assert model.pipeline.batcher.live_workers == 2
        assert model.pipeline.alive
        assert model.encode("text").shape == (1, 384)
    assert model.pipeline.batcher.live_workers == 0
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("embedrouter")]
    with pytest.raises(OverloadedError):
        model.encode("late")
    model.close()
