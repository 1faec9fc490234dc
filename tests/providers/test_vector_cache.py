"""The built-in provider with its vector cache, on the real model."""

import asyncio
import tracemalloc
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
import pytest

from embedrouter.errors import ContextLengthExceededError
from embedrouter.minilm import MiniLM
from embedrouter.minilm.pipeline import Embedded
from embedrouter.minilm.windows import Ids, LongInput, Plan, Vectors
from embedrouter.providers.base import EmbedAnswer, EmbedCall
from embedrouter.providers.builtin import BuiltinProvider
from embedrouter.providers.vector_cache import ENTRY, LONGEST, VectorCache
from server import sentences

T = TypeVar("T")

_LONG = "time and people " * 200  # 600 tokens: three windows


class Bench:
    """A provider with a cache, one without, and the sequences that the model computes meanwhile."""

    def __init__(self, model: MiniLM, entries: int = 1_000) -> None:
        self.cache = VectorCache(entries * ENTRY)
        self.cached = BuiltinProvider(model, self.cache)
        self.plain = BuiltinProvider(model)
        self.computed = 0  # sequences, by any provider

    def embed(self, texts: Sequence[str], rule: LongInput = LongInput.WINDOWS) -> EmbedAnswer:
        return run(self.cached.embed(EmbedCall(texts, rule)))

    def embed_counted(self, texts: Sequence[str], rule: LongInput = LongInput.WINDOWS) -> EmbedAnswer:
        async def both() -> EmbedAnswer:
            counted = await self.cached.count(EmbedCall(texts, rule))
            answer = await self.cached.embed_counted(counted, rule)
            assert counted.tokens == answer.prompt_tokens
            return answer

        return run(both())

    def expect(self, answer: EmbedAnswer, texts: Sequence[str], rule: LongInput = LongInput.WINDOWS) -> None:
        """The same, to the bit, as without a cache."""
        wanted = run(self.plain.embed(EmbedCall(texts, rule)))
        np.testing.assert_array_equal(answer.vectors, wanted.vectors)
        assert answer.vectors.dtype == np.float32
        assert answer[1:-1] == wanted[1:-1]


@pytest.fixture
def bench(model: MiniLM, monkeypatch: pytest.MonkeyPatch) -> Bench:
    if model.engine.name != "native":
        pytest.skip(reason="OpenVINO's vectors differ in their last bits from batch to batch")
    bench = Bench(model)
    submit = model.pipeline.batcher.submit

    def counted(sequences: Sequence[Ids]) -> Future[Vectors]:
        bench.computed += len(sequences)
        return submit(sequences)

    monkeypatch.setattr(model.pipeline.batcher, "submit", counted)
    return bench


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.mark.parametrize("road", ["embed", "embed_counted"])
def test_known_texts_have_the_bits_and_the_bill_of_computed_ones(bench: Bench, road: str) -> None:
    embed = getattr(bench, road)
    texts = [*sentences(40, 9), _LONG]
    for _ in range(2):
        bench.expect(embed(texts), texts)
    mixed = [*sentences(3, 5, seed=1), texts[7], _LONG, *sentences(3, 30, seed=2), texts[0]]
    bench.expect(embed(mixed), mixed)


@pytest.mark.parametrize("road", ["embed", "embed_counted"])
def test_only_texts_that_are_not_known_are_computed(bench: Bench, road: str) -> None:
    embed = getattr(bench, road)
    known, new = sentences(10, 8), sentences(4, 8, seed=1)
    embed(known)
    assert bench.computed == 10
    embed([known[3], *new, known[5]])
    assert bench.computed == 14
    embed([*new, *known])
    assert bench.computed == 14
    assert (bench.cache.hits, bench.cache.misses) == (2 + 14, 10 + 4)


@pytest.mark.parametrize("road", ["embed", "embed_counted"])
def test_a_text_that_comes_twice_is_computed_once_and_billed_twice(bench: Bench, road: str) -> None:
    embed = getattr(bench, road)
    texts = ["one", "two words", "one", "one", _LONG, "two words", _LONG]
    answer = embed(texts)
    assert bench.computed == 1 + 1 + 3  # a long text has three windows
    bench.expect(answer, texts)
    bench.expect(embed(texts), texts)
    assert len(bench.cache.entries) == 3


def test_each_rule_for_long_inputs_has_entries_of_its_own(bench: Bench) -> None:
    for _ in range(2):
        for rule in (LongInput.WINDOWS, LongInput.TRUNCATE):
            bench.expect(bench.embed([_LONG, "short"], rule), [_LONG, "short"], rule)
    assert len(bench.cache.entries) == 4
    truncated, windows = bench.embed([_LONG] * 3, LongInput.TRUNCATE), bench.embed([_LONG] * 3)
    assert (truncated.truncated, truncated.windows, truncated.prompt_tokens) == (3, 0, 3 * 256)
    assert (windows.truncated, windows.windows, windows.prompt_tokens) == (0, 6, 3 * 602)


@pytest.mark.parametrize("road", ["embed", "embed_counted"])
def test_an_error_names_the_text_by_its_place_in_the_request(bench: Bench, road: str) -> None:
    embed = getattr(bench, road)
    known = sentences(5, 8)
    embed(known, LongInput.REFUSE)
    with pytest.raises(ContextLengthExceededError, match=r"input\[5\] has 602 tokens") as caught:
        embed([*known, _LONG, "another"], LongInput.REFUSE)
    assert caught.value.metadata["index"] == 5
    assert len(bench.cache.entries) == 5


def test_a_request_that_is_given_up_leaves_nothing_behind(bench: Bench) -> None:
    async def give_up() -> None:
        asking = asyncio.create_task(bench.cached.embed(EmbedCall(sentences(400, 200), LongInput.WINDOWS)))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(give_up())
    assert len(bench.cache.entries) == 0
    texts = sentences(3, 5)
    bench.expect(bench.embed(texts), texts)


def test_what_is_evicted_between_counting_and_computing_is_answered_all_the_same(model: MiniLM, bench: Bench) -> None:
    texts, others = sentences(6, 8), sentences(4, 8, seed=1)
    small = Bench(model, entries=4)

    async def both() -> EmbedAnswer:
        await small.cached.embed(EmbedCall(texts[:4], LongInput.WINDOWS))
        counted = await small.cached.count(EmbedCall(texts, LongInput.WINDOWS))
        await small.cached.embed(EmbedCall(others, LongInput.WINDOWS))
        return await small.cached.embed_counted(counted, LongInput.WINDOWS)

    small.expect(run(both()), texts)
    assert (small.cache.hits, len(small.cache.entries)) == (4, 4)


def test_a_flood_of_texts_stays_within_the_bound(model: MiniLM, bench: Bench) -> None:
    small = Bench(model, entries=50)
    for seed in range(4):
        texts = sentences(40, 4, seed=seed)
        small.expect(small.embed(texts), texts)
        assert small.cache.entries.size <= 50 * ENTRY
    assert len(small.cache.entries) == 50
    assert small.cache.hits == 0


def test_ids_and_very_long_texts_pass_the_cache_by(bench: Bench) -> None:
    ids = [[7592, 2088], [2088]]
    answer = run(bench.cached.embed(EmbedCall(ids, LongInput.WINDOWS)))
    assert answer.prompt_tokens == 4 + 3
    texts = ["word " * LONGEST, "short"]
    bench.expect(bench.embed(texts, LongInput.TRUNCATE), texts, LongInput.TRUNCATE)
    assert len(bench.cache.entries) == 1


# --- without the model


def _answer(count: int, vectors: np.ndarray[Any, np.dtype[np.float32]] | None = None) -> Embedded:
    found = np.random.default_rng(0).random((count, 384), np.float32) if vectors is None else vectors
    plans = [Plan([np.zeros(4, np.int32)], 300 + number, truncated=False) for number in range(count)]
    return Embedded(found, [plan.tokens for plan in plans], 0, 0, 0.0, plans)


def test_an_entry_takes_no_more_memory_than_is_counted_for_it() -> None:
    async def fill(cache: VectorCache) -> None:
        for seed in range(8):
            sought = await cache.seek([f"{seed} {number}" for number in range(1_024)], "fingerprint")
            await cache.complete(sought, _answer(1_024), "fingerprint")

    cache = VectorCache(5_000 * ENTRY)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run(fill(cache))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache.entries) == 5_000
    assert 0.8 * cache.entries.size < after - before < cache.entries.size


def test_vectors_that_are_no_numbers_are_not_kept() -> None:
    async def twice(cache: VectorCache) -> None:
        vectors = np.full((2, 384), np.nan, np.float32)
        await cache.complete(await cache.seek(["a", "b"], "f"), _answer(2, vectors), "f")
        assert (await cache.seek(["a", "b"], "f")).missing == [0, 1]

    run(twice(VectorCache(1 << 20)))


def test_another_fingerprint_or_text_finds_nothing() -> None:
    async def look() -> None:
        cache = VectorCache(1 << 20)
        await cache.complete(await cache.seek(["text"], "one"), _answer(1), "one")
        assert (await cache.seek(["text"], "one")).missing == []
        for text, fingerprint in (("text", "two"), ("texT", "one"), ("text ", "one"), ("ne\ntext", "o")):
            assert (await cache.seek([text], fingerprint)).missing == [0]

    run(look())


def test_others_have_their_turn_while_many_texts_are_looked_up() -> None:
    async def look() -> None:
        cache = VectorCache(8 << 20)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        running = asyncio.create_task(other())
        texts = [f"text {number}" for number in range(2_048)]
        for answer in (_answer(2_048), None):
            turns = 0
            sought = await cache.seek(texts, "f")
            assert turns > 10
            turns = 0
            await cache.complete(sought, answer, "f")
            assert turns > 10
        running.cancel()

    run(look())
