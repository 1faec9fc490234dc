"""The way from texts to vectors: the real tokenizer before the batcher, on the fake engine."""

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embedrouter.errors import (
    ContextLengthExceededError,
    InvalidRequestError,
    OverloadedError,
    ProviderUnavailableError,
)
from embedrouter.minilm.pipeline import Embedded, Pipeline
from embedrouter.minilm.tokenizer import Content, Tokenizer
from embedrouter.minilm.weights import Weights
from embedrouter.minilm.windows import LongInput, Vectors, combine, plan

from .fakes import PATIENCE, FakeEngine, eventually, occupy, running, vectors_of


class GatedTokenizer(Tokenizer):
    """The tokenizer, with a gate in front and a log: what is submitted while it is closed shares a turn."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.turns: list[list[str]] = []
        self.panics: set[str] = set()

    def contents(self, texts: Sequence[str], enough: int, first: int = 0) -> list[Content]:
        self.entered.release()
        assert self.gate.wait(PATIENCE), "the test never opened the gate"
        self.turns.append(list(texts))
        if self.panics.intersection(texts):
            raise SystemExit("as a panic in Rust: not an Exception")
        return super().contents(texts, enough, first)


@pytest.fixture(scope="module")
def gated(weights: Weights) -> GatedTokenizer:
    return GatedTokenizer(weights.tokenizer)


@pytest.fixture
def tokenizer(gated: GatedTokenizer) -> Iterator[GatedTokenizer]:
    gated.turns.clear()
    gated.panics.clear()
    while gated.entered.acquire(blocking=False):
        pass
    yield gated
    gated.gate.set()


@contextmanager
def pipeline_of(tokenizer: Tokenizer, engine: FakeEngine, max_queued_tokens: int = 2_000_000) -> Iterator[Pipeline]:
    with running(engine, max_queued_tokens=max_queued_tokens) as batcher:
        pipeline = Pipeline(tokenizer, batcher)
        try:
            yield pipeline
        finally:
            engine.gate.set()
            pipeline.close(PATIENCE)


def hold(pipeline: Pipeline, tokenizer: GatedTokenizer) -> None:
    """Keep the tokenizer thread busy: what is submitted next waits until the gate opens, and shares one turn."""
    tokenizer.gate.clear()
    pipeline.submit(["busy"])
    assert tokenizer.entered.acquire(timeout=PATIENCE)


def answer(future: "Future[Embedded]") -> Embedded:
    return future.result(PATIENCE)


def expected(tokenizer: Tokenizer, text: str, rule: LongInput = LongInput.WINDOWS) -> Vectors:
    (content,) = Tokenizer.contents(tokenizer, [text], 1_000_000)
    sequences = plan(content.ids, rule, 0).sequences
    return combine(vectors_of(sequences), np.array(list(map(len, sequences)), np.int64))


def words(tokens: int) -> str:
    """A text of exactly so many tokens, [CLS] and [SEP] included."""
    return " ".join(["word"] * (tokens - 2))


def test_requests_of_texts_and_of_ids_are_answered_in_input_order(tokenizer: GatedTokenizer) -> None:
    texts = ["one", "", words(600), "two", "two", words(257)]
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        hold(pipeline, tokenizer)
        by_text = pipeline.submit(texts)
        by_ids = pipeline.submit([[2028], [101, 2048, 102], []])
        cut = pipeline.submit(texts, LongInput.TRUNCATE)
        tokenizer.gate.set()
        found = answer(by_text)
        np.testing.assert_array_equal(found.vectors, [expected(tokenizer, text) for text in texts])
        assert found.tokens == [3, 2, 600, 3, 3, 257]
        assert (found.truncated, found.windows) == (0, 3)
        assert found.tokenize_seconds >= 0

        found = answer(by_ids)
        np.testing.assert_array_equal(found.vectors, [expected(tokenizer, text) for text in ("one", "two", "")])
        assert found.tokens == [3, 3, 2]

        found = answer(cut)
        np.testing.assert_array_equal(found.vectors, [expected(tokenizer, text, LongInput.TRUNCATE) for text in texts])
        assert found.tokens == [3, 2, 256, 3, 3, 256]
        assert (found.truncated, found.windows) == (2, 0)


def test_a_request_without_inputs_has_an_answer(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        found = answer(pipeline.submit([]))
    assert found.vectors.shape == (0, 384)
    assert (found.tokens, found.truncated, found.windows) == ([], 0, 0)


def test_requests_that_wait_are_tokenised_together(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        hold(pipeline, tokenizer)
        futures = [pipeline.submit([f"text {i}", "same"]) for i in range(20)]
        tokenizer.gate.set()
        for i, future in enumerate(futures):
            np.testing.assert_array_equal(
                answer(future).vectors, [expected(tokenizer, text) for text in (f"text {i}", "same")]
            )
    assert len(tokenizer.turns) == 2


def test_what_is_too_long_fails_only_its_own_request(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        hold(pipeline, tokenizer)
        good = pipeline.submit([words(8192)])
        bad = pipeline.submit(["fine", words(8193)])
        refused = pipeline.submit(["fine", "fine", words(257)], LongInput.REFUSE)
        very = pipeline.submit([words(300_000)], first=2048)
        cut = pipeline.submit([words(300_000)], LongInput.TRUNCATE)
        tokenizer.gate.set()
        assert answer(good).tokens == [8192]
        assert answer(cut).tokens == [256]
        with pytest.raises(ContextLengthExceededError) as caught:
            answer(bad)
        assert caught.value.metadata == {"index": 1, "tokens": 8193, "tokens_exact": True, "limit": 8192}
        with pytest.raises(ContextLengthExceededError) as caught:
            answer(refused)
        assert caught.value.metadata == {"index": 2, "tokens": 257, "tokens_exact": True, "limit": 256}
        with pytest.raises(ContextLengthExceededError, match="more than") as caught:
            answer(very)
        assert caught.value.metadata["index"] == 2048
        assert caught.value.metadata["tokens_exact"] is False
        assert 8192 < caught.value.metadata["tokens"] <= 300_000


def test_a_text_that_is_not_unicode_fails_only_its_own_request(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        hold(pipeline, tokenizer)
        good = pipeline.submit(["fine"])
        bad = pipeline.submit(["fine", "half a \ud83d smile"], first=10)
        tokenizer.gate.set()
        np.testing.assert_array_equal(answer(good).vectors, [expected(tokenizer, "fine")])
        with pytest.raises(InvalidRequestError, match=r"input\[11\]") as caught:
            answer(bad)
        assert caught.value.metadata == {"index": 11}


def test_a_tokenizer_that_panics_fails_one_request_and_lives_on(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        tokenizer.panics = {"panic"}
        hold(pipeline, tokenizer)
        good, bad = pipeline.submit(["fine"]), pipeline.submit(["panic"])
        tokenizer.gate.set()
        np.testing.assert_array_equal(answer(good).vectors, [expected(tokenizer, "fine")])
        with pytest.raises(RuntimeError):
            answer(bad)
        assert pipeline.alive
        assert answer(pipeline.submit(["and on"])).tokens == [4]


@pytest.mark.parametrize("ids", [[30522], [-1], [1 << 40], [1 << 80]])
def test_ids_of_another_vocabulary_are_refused_at_once(tokenizer: GatedTokenizer, ids: list[int]) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline, pytest.raises(InvalidRequestError, match=r"input\[5\]"):
        pipeline.submit([[101], ids], first=4)


def test_a_failing_engine_fails_its_request(tokenizer: GatedTokenizer) -> None:
    def hook(_: Sequence[object]) -> None:
        raise ValueError("poison")

    with pipeline_of(tokenizer, FakeEngine(hook=hook)) as pipeline, pytest.raises(ProviderUnavailableError):
        answer(pipeline.submit(["any"]))


def test_a_request_given_up_before_it_is_tokenised_is_never_computed(tokenizer: GatedTokenizer) -> None:
    engine = FakeEngine()
    with pipeline_of(tokenizer, engine) as pipeline:
        hold(pipeline, tokenizer)
        given_up, kept = pipeline.submit(["given up"]), pipeline.submit(["kept"])
        assert given_up.cancel()
        tokenizer.gate.set()
        np.testing.assert_array_equal(answer(kept).vectors, [expected(tokenizer, "kept")])
    assert "given up" not in [text for turn in tokenizer.turns for text in turn]
    assert len(engine.served()) == 2


def test_a_request_given_up_in_the_queue_is_never_computed(tokenizer: GatedTokenizer) -> None:
    engine = FakeEngine()
    with pipeline_of(tokenizer, engine) as pipeline:
        occupy(engine, pipeline.batcher)
        given_up = pipeline.submit([words(100), words(200)])
        kept = pipeline.submit(["kept"])
        eventually(lambda: pipeline.batcher.queued_tokens == 303)
        assert given_up.cancel()
        engine.gate.set()
        np.testing.assert_array_equal(answer(kept).vectors, [expected(tokenizer, "kept")])
        eventually(lambda: pipeline.batcher.queued_tokens == 0)
        with pytest.raises(CancelledError):
            given_up.result(0)
    assert len(engine.served()) == 2


def test_a_full_queue_refuses_before_tokenising(tokenizer: GatedTokenizer) -> None:
    engine = FakeEngine()
    with pipeline_of(tokenizer, engine, max_queued_tokens=1000) as pipeline:
        occupy(engine, pipeline.batcher)
        first = pipeline.submit([words(100 + i) for i in range(9)])
        eventually(lambda: pipeline.batcher.queued_tokens == sum(range(100, 109)))
        turns = len(tokenizer.turns)
        with pytest.raises(OverloadedError) as caught:
            pipeline.submit([words(300)])
        assert caught.value.retry_after is not None
        assert len(tokenizer.turns) == turns
        engine.gate.set()
        assert answer(first).tokens == list(range(100, 109))
        assert answer(pipeline.submit([words(300)])).tokens == [300]


def test_what_waits_for_the_tokenizer_is_bounded_too(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine(), max_queued_tokens=1000) as pipeline:
        hold(pipeline, tokenizer)
        first = pipeline.submit([words(600)])
        second = pipeline.submit([words(120)])
        with pytest.raises(OverloadedError):
            pipeline.submit([words(600)])
        tokenizer.gate.set()
        assert (answer(first).tokens, answer(second).tokens) == ([600], [120])


def test_a_request_of_any_size_is_taken_when_nothing_waits(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine(), max_queued_tokens=1000) as pipeline:
        assert answer(pipeline.submit([words(8192)])).tokens == [8192]


def test_closing_finishes_what_was_taken(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        hold(pipeline, tokenizer)
        futures = [pipeline.submit([f"text {i}"]) for i in range(10)]
        closing = threading.Thread(target=pipeline.close)
        closing.start()
        eventually(lambda: pipeline._closing)
        with pytest.raises(OverloadedError, match="shutting down"):
            pipeline.submit(["late"])
        tokenizer.gate.set()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert not pipeline.alive
        for i, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(0).vectors, [expected(tokenizer, f"text {i}")])


def test_an_answer_is_freed_with_its_future_and_without_the_collector(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        gc.disable()
        try:
            future = pipeline.submit(["one", "two"])
            vectors = weakref.ref(answer(future).vectors)
            answer(pipeline.submit(["the worker has gone on"]))
            del future
            assert vectors() is None
        finally:
            gc.enable()


def test_a_single_text_does_not_wait_until_a_bulk_request_is_tokenised(tokenizer: GatedTokenizer) -> None:
    with pipeline_of(tokenizer, FakeEngine()) as pipeline:
        hold(pipeline, tokenizer)
        large = pipeline.submit([words(300) + f" {i}" for i in range(300)])
        single = pipeline.submit(["single"])
        tokenizer.gate.set()
        answer(single)
        answer(large)
    texts = [text for turn in tokenizer.turns for text in turn]
    assert texts.index("single") < 150
