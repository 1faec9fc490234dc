"""The native engine on every instruction path that this machine has: its accuracy, the same bits whatever the company,
what it refuses, and what it survives. tests/minilm/test_emulated.py runs AMX where there is none.
"""

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from embedrouter.minilm.engines import native
from embedrouter.minilm.engines.native import NativeEngine
from embedrouter.minilm.engines.openvino import OpenVinoEngine
from embedrouter.minilm.facts import DIMENSIONS, VOCABULARY
from embedrouter.minilm.tokenizer import Tokenizer
from embedrouter.minilm.weights import Weights
from embedrouter.minilm.windows import Ids, LongInput, Vectors, plan
from native_module import substituted
from server import eventually

from .golden import golden

INT8_COSINE = 0.995
"""The least cosine of a golden text in int8."""
COSINE = {"float32": 0.999999, "bfloat16": 0.9999, "int8": INT8_COSINE}

LONGEST = 512
# Around the sizes of strips, tiles, chunks and blocks.
EDGES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257, 511, 512)
# Sanitizers make every token take many times as long; the bookkeeping of a call is the same for fewer sequences.
MANY = 10_000 if substituted() else 100_000

_SCRIPTS = Path(__file__).parent.parent / "native"
_EXAMPLES = settings().max_examples // 4  # of each property, on each path


class Sequences(NamedTuple):
    """What one call computes, as the module takes it."""

    ids: Ids
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, sequences: Sequence[Ids]) -> "Sequences":
        lengths = np.array([len(sequence) for sequence in sequences], np.int32)
        return cls(np.concatenate([np.empty(0, np.int32), *sequences]), lengths)


class Bench:
    """The engines of one path, of all thread counts, and each sequence's vector when it is computed alone."""

    def __init__(self, tensors: dict[str, NDArray[np.float32]], path: str) -> None:
        from embedrouter.minilm.native import _native

        self.path = path
        self.tensors = tensors
        self._make = _native.Engine
        self.engine = cache(self.new)
        self.alone = cache(self._alone)

    def new(self, threads: int) -> Any:
        return self._make(self.tensors, self.path, threads)

    def embed(self, sequences: Sequence[Ids], threads: int = 1) -> Vectors:
        return embed(self.engine(threads), sequences)

    def _alone(self, length: int, seed: int) -> Vectors:
        vector: Vectors = self.embed([sequence(length, seed)])[0]
        return vector


def embed(engine: Any, sequences: Sequence[Ids]) -> Vectors:
    vectors = np.full((len(sequences), DIMENSIONS), np.nan, np.float32)
    given = Sequences.of(sequences)
    engine.embed(given.ids, given.lengths, vectors)
    return vectors


@cache
def sequence(length: int, seed: int) -> Ids:
    """Any ids, the same for the same arguments; the first and the last of the vocabulary are among the likely ones."""
    chosen = np.random.default_rng([length, seed])
    ids = chosen.integers(0, VOCABULARY, length, dtype=np.int32)
    ids[chosen.random(length) < 0.05] = VOCABULARY - 1
    ids[chosen.random(length) < 0.05] = 0
    return ids


def same_bits(found: Vectors, expected: Vectors) -> None:
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def together(*callers: Callable[[], None]) -> None:
    """Run all at once, each in its own thread; the first failure is raised here."""
    gate = threading.Barrier(len(callers))
    failures: list[BaseException] = []

    def run(caller: Callable[[], None]) -> None:
        try:
            gate.wait()
            caller()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(caller,), daemon=True) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "a call hangs"
    if failures:
        raise failures[0]


def script(name: str, *arguments: str | Path, timeout: float = 120) -> str:
    """What a script of tests/native prints; a process of its own, so that a crash or a hang fails one test only."""
    done = subprocess.run(
        [sys.executable, str(_SCRIPTS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


_NONE = pytest.param("", marks=pytest.mark.skip(reason=f"no native path: {native.missing('bfloat16')}"))


@pytest.fixture(scope="module", params=native.available() or [_NONE])
def path(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def benches(weights: Weights) -> Iterator[Callable[[str], Bench]]:
    tensors = load_file(weights.tensors)
    made = cache(lambda path: Bench(tensors, path))
    yield made
    made.cache_clear()


@pytest.fixture(scope="module")
def bench(benches: Callable[[str], Bench], path: str) -> Bench:
    return benches(path)


@pytest.mark.parametrize("path", list(native.PATHS))
def test_this_machine_has_the_path(path: str) -> None:
    """All tests here run on the paths there are; this one says which are left out, once for each."""
    if path not in native.available():
        why = f"this CPU does not have {path}" if native.available() else native.missing(native.PATHS[path])
        pytest.skip(reason=f"nothing here tests {path}: {why}")


# --- the reference


def test_golden_vectors_are_near_the_reference(weights: Weights, path: str) -> None:
    engine = NativeEngine(weights, path, 2, "a test")
    assert (engine.precision, engine.workers, engine.pads) == (native.PATHS[path], 2, False)
    contents = Tokenizer(weights.tokenizer).contents(golden().texts, LONGEST)
    sequences = [plan(content.ids, LongInput.TRUNCATE, 0).sequences[0] for content in contents]
    found = engine.embed(sequences)
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, rtol=0, atol=1e-6)
    similar = np.einsum("nd,nd->n", found.astype(np.float64), golden().seq256.astype(np.float64))
    worst = int(similar.argmin())
    assert similar[worst] >= COSINE[engine.precision], golden().names[worst]


def test_up_to_512_tokens_are_as_near_to_float32_as_fewer(weights: Weights, bench: Bench, openvino: None) -> None:
    """The golden texts end at 256 tokens, the engine at 512."""
    (content,) = Tokenizer(weights.tokenizer).contents([" ".join(golden().texts[:40])], 2 * LONGEST)
    texts = [content.ids[:length].astype(np.int32) for length in (257, 300, 511, 512)]
    reference = OpenVinoEngine(weights, "float32", 1, "a test")
    expected = np.concatenate([reference.embed([text]) for text in texts])
    similar = np.einsum("nd,nd->n", bench.embed(texts), expected)
    assert similar.min() >= COSINE[native.PATHS[bench.path]], similar


# --- the same bits, whatever the batch

lengths = st.one_of(st.sampled_from(EDGES), st.integers(1, LONGEST), st.integers(1, 40))
batches = st.lists(st.tuples(lengths, st.integers(0, 2)), min_size=1, max_size=10)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_every_edge_length_has_the_bits_it_has_alone(bench: Bench, threads: int) -> None:
    chosen = [(length, 0) for length in EDGES]
    np.random.default_rng(threads).shuffle(chosen)
    found = bench.embed([sequence(*one) for one in chosen], threads)
    same_bits(found, np.array([bench.alone(*one) for one in chosen]))


@settings(max_examples=_EXAMPLES)
@given(batch=batches, threads=st.integers(1, 4))
def test_a_vector_does_not_depend_on_its_batch_nor_on_the_threads(
    bench: Bench, batch: list[tuple[int, int]], threads: int
) -> None:
    found = bench.embed([sequence(*one) for one in batch], threads)
    same_bits(found, np.array([bench.alone(*one) for one in batch]))


@settings(max_examples=_EXAMPLES)
@given(calls=st.lists(st.lists(st.tuples(st.integers(1, 150), st.integers(0, 1)), max_size=4), min_size=2, max_size=6))
def test_a_vector_does_not_depend_on_calls_at_the_same_time(bench: Bench, calls: list[list[tuple[int, int]]]) -> None:
    """Calls share blocks of work and lend each other their threads; some calls here are empty."""
    threads = 1 + sum(map(len, calls)) % 4
    expected = [[bench.alone(*one) for one in call] for call in calls]

    def caller(number: int) -> None:
        found = bench.embed([sequence(*one) for one in calls[number]], threads)
        assert len(found) == len(expected[number])
        for vector, alone in zip(found, expected[number], strict=True):
            same_bits(vector, alone)

    together(*(lambda number=number: caller(number) for number in range(len(calls))))


def test_many_small_calls_from_more_threads_than_the_engine_has_all_end(bench: Bench) -> None:
    """What a lost wake-up would hang."""

    def caller(number: int) -> None:
        for turn in range(10):
            one = (1 + (7 * number + turn) % 24, 0)
            same_bits(bench.embed([sequence(*one)], 3)[0], bench.alone(*one))

    for length in range(1, 25):
        bench.alone(length, 0)
    together(*(lambda number=number: caller(number) for number in range(8)))


# --- special values


@pytest.mark.parametrize("token", [0, 101, VOCABULARY - 1])
def test_one_token_again_and_again_makes_unit_vectors(bench: Bench, token: int) -> None:
    repeated = [np.full(length, token, np.int32) for length in (1, 2, 17, 129, LONGEST)]
    found = bench.embed(repeated, 2)
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, rtol=0, atol=1e-6)
    same_bits(found, np.concatenate([bench.embed([one]) for one in repeated]))


def test_equal_sequences_have_equal_vectors(bench: Bench) -> None:
    found = bench.embed([sequence(50, 0)] * 20, 2)
    same_bits(found, np.repeat(found[:1], 20, axis=0))


# --- sizes


def test_an_empty_batch_is_nothing(bench: Bench, weights: Weights) -> None:
    assert bench.embed([], 2).shape == (0, DIMENSIONS)
    assert NativeEngine(weights, bench.path, 1, "a test").embed([]).shape == (0, DIMENSIONS)


@pytest.mark.skipif(not native.available(), reason=f"no native path: {native.missing('bfloat16')}")
def test_a_hundred_thousand_sequences_at_once(benches: Callable[[str], Bench]) -> None:
    """On one path, for time: all paths share what cuts and queues a call. The last one is of the fastest format."""
    bench = benches(native.available()[-1])
    ids = np.random.default_rng(5).integers(0, VOCABULARY, MANY, dtype=np.int32)
    vectors = np.full((MANY, DIMENSIONS), np.nan, np.float32)
    bench.engine(2).embed(ids, np.ones(MANY, np.int32), vectors)
    assert np.isfinite(vectors).all()
    sample = [0, 1, 127, 128, 129, 255, 256, MANY // 2, MANY - 1]
    same_bits(vectors[sample], np.concatenate([bench.embed([ids[i : i + 1]]) for i in sample]))


# --- what is refused


def _refused() -> dict[str, tuple[Any, Any, Any]]:
    ids, three = np.arange(6, dtype=np.int32), np.array([1, 2, 3], np.int32)

    def vectors(count: int = 3, columns: int = DIMENSIONS, dtype: Any = np.float32) -> Any:
        return np.empty((count, columns), dtype)

    locked = vectors()
    locked.flags.writeable = False

    def lengths_of(*lengths: int) -> Any:
        return np.array(lengths, np.int32)

    def with_id(token: int) -> Any:
        return np.array([1, 2, token, 3, 4, 5], np.int32)

    return {
        "a length of 0": (ids, lengths_of(0, 3, 3), vectors()),
        "a negative length": (ids, lengths_of(-1, 4, 3), vectors()),
        "the least length": (ids, lengths_of(-(2**31), 4, 3), vectors()),
        "a length of 513": (np.zeros(513, np.int32), lengths_of(513), vectors(1)),
        "a huge length": (ids, lengths_of(2**31 - 1, 4, 3), vectors()),
        "id -1": (with_id(-1), three, vectors()),
        "id 30522": (with_id(VOCABULARY), three, vectors()),
        "the largest id": (with_id(2**31 - 1), three, vectors()),
        "the least id": (with_id(-(2**31)), three, vectors()),
        "too few ids": (ids[:5], three, vectors()),
        "too many ids": (np.arange(7, dtype=np.int32), three, vectors()),
        "ids without lengths": (ids, lengths_of(), vectors(0)),
        "lengths without ids": (ids[:0], three, vectors()),
        "float ids": (ids.astype(np.float32), three, vectors()),
        "wide ids": (ids.astype(np.int64), three, vectors()),
        "unsigned ids": (ids.astype(np.uint32), three, vectors()),
        "ids of the other byte order": (ids.astype(">i4"), three, vectors()),
        "a list of ids": (ids.tolist(), three, vectors()),
        "a table of ids": (ids.reshape(2, 3), three, vectors()),
        "ids with gaps": (np.arange(12, dtype=np.int32)[::2], three, vectors()),
        "ids backwards": (ids[::-1], three, vectors()),
        "no ids": (None, three, vectors()),
        "wide lengths": (ids, three.astype(np.int64), vectors()),
        "float lengths": (ids, three.astype(np.float32), vectors()),
        "lengths with gaps": (ids, np.array([1, 0, 2, 0, 3, 0], np.int32)[::2], vectors()),
        "too few vectors": (ids, three, vectors(2)),
        "too many vectors": (ids, three, vectors(4)),
        "short vectors": (ids, three, vectors(3, DIMENSIONS - 1)),
        "long vectors": (ids, three, vectors(3, DIMENSIONS + 1)),
        "flat vectors": (ids, three, vectors().reshape(-1)),
        "vectors with gaps": (ids, three, vectors(6)[::2]),
        "vectors by columns": (ids, three, np.empty((DIMENSIONS, 3), np.float32).T),
        "vectors of float64": (ids, three, vectors(dtype=np.float64)),
        "vectors that cannot be written": (ids, three, locked),
    }


@pytest.mark.parametrize("what", list(_refused()))
def test_what_does_not_fit_is_refused_and_the_engine_goes_on(bench: Bench, what: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        bench.engine(2).embed(*_refused()[what])
    same_bits(bench.embed([sequence(9, 0)], 2)[0], bench.alone(9, 0))


def test_nothing_is_written_when_a_call_is_refused(bench: Bench) -> None:
    vectors = np.full((2, DIMENSIONS), 7, np.float32)
    with pytest.raises(ValueError, match="ids must be"):
        bench.engine(2).embed(np.array([5, -1], np.int32), np.ones(2, np.int32), vectors)
    assert (vectors == 7).all()


@pytest.mark.parametrize(("name", "threads"), [("", 1), ("sse2", 1), (None, 0), (None, -1)])
def test_unknown_paths_and_no_threads_are_refused(bench: Bench, name: str | None, threads: int) -> None:
    from embedrouter.minilm.native import _native

    with pytest.raises(ValueError, match="path|threads"):
        _native.Engine(bench.tensors, bench.path if name is None else name, threads)


@pytest.mark.parametrize(
    "name", ["embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias", "encoder.layer.5.output.dense.weight"]
)
def test_weights_of_another_model_are_refused(bench: Bench, name: str) -> None:
    from embedrouter.minilm.native import _native

    others: list[Any] = [bench.tensors[name][:-1], bench.tensors[name][None]]
    for other in others:
        with pytest.raises(ValueError, match=r"another shape"):
            _native.Engine({**bench.tensors, name: other}, bench.path, 1)
    with pytest.raises((ValueError, KeyError)):
        _native.Engine({key: value for key, value in bench.tensors.items() if key != name}, bench.path, 1)


# --- threads and processes


def test_two_engines_in_one_process_do_not_meet(bench: Bench) -> None:
    chosen = [(length, 2) for length in (3, 40, 129, 17, 64)]
    expected = np.array([bench.alone(*one) for one in chosen])
    engines = [bench.new(2), bench.new(3)]

    def caller(engine: Any) -> None:
        for _ in range(3):
            same_bits(embed(engine, [sequence(*one) for one in chosen]), expected)

    together(*(lambda engine=engine: caller(engine) for engine in engines * 2))


def test_a_deleted_engine_leaves_no_threads(bench: Bench) -> None:
    def tasks() -> set[str]:
        return {task.name for task in Path("/proc/self/task").iterdir()}

    before = tasks()
    engine = bench.new(4)
    embed(engine, [sequence(20, 0)])
    started = tasks() - before
    assert len(started) == 3  # the caller is the fourth
    del engine
    gc.collect()
    eventually(lambda: not started & tasks())  # a joined thread's entry may stay for a moment


def test_an_engine_that_is_dropped_while_it_computes_ends_its_work_first(bench: Bench) -> None:
    engines = [bench.new(2)]
    chosen = [(length, 1) for length in (100, 128, 60)]
    expected = np.array([bench.alone(*one) for one in chosen])
    found: list[Vectors] = []

    def compute() -> None:
        found.append(embed(engines.pop(), [sequence(*one) for one in chosen]))

    def collect() -> None:
        gc.collect()

    together(compute, collect)
    same_bits(found[0], expected)


def test_other_python_threads_run_while_it_computes(bench: Bench) -> None:
    """Nothing but a release of the GIL inside `embed` lets this thread count while the other one is in there."""
    counted, rounds, done = 0, 0, threading.Event()
    seen = False

    def compute() -> None:
        nonlocal rounds, seen
        while not seen and rounds < 50:
            before = counted
            bench.embed([sequence(128, 0)] * 4, 2)
            seen = counted > before
            rounds += 1
        done.set()

    bench.alone(128, 0)
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=compute)
    try:
        sys.setswitchinterval(1000)  # seconds: nobody is made to give the GIL away
        thread.start()
        while not done.is_set():
            counted += 1
            time.sleep(0.0005)
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert seen, f"not in {rounds} calls"


def test_ticks_of_the_stages_grow(bench: Bench) -> None:
    engine = bench.new(2)
    before = engine.stages()
    assert {"embedding", "qkv", "attention", "intermediate", "output", "layer norm", "pooling"} <= set(before)
    assert set(before.values()) == {0}
    embed(engine, [sequence(64, 0)])
    once = engine.stages()
    embed(engine, [sequence(64, 0)])
    twice = engine.stages()
    quantised = native.PATHS[bench.path] == "int8"
    for stage in before:
        if stage == "quantise" and not quantised:
            assert twice[stage] == 0
        else:
            assert 0 < once[stage] < twice[stage], stage


def test_a_forked_child_computes_the_same_bits(weights: Weights, path: str) -> None:
    assert script("forking.py", weights.folder, path).split() == ["idle", "busy", "grandchild", "parent"]


def test_threads_that_the_system_refuses_are_an_error_and_no_crash(weights: Weights, path: str) -> None:
    if substituted():
        pytest.skip(reason="the sanitizers need more address space than this test leaves")
    assert script("few_threads.py", weights.folder, path).split() == ["refused", "alive"]


def test_a_process_may_end_while_a_daemon_thread_computes(weights: Weights, path: str) -> None:
    assert script("ending.py", weights.folder, path).split() == ["ending"]
