"""What the micro-batcher promises, on an engine that does what the test needs.

Most tests first `occupy` every worker, then queue, then open the gate: what a worker takes next is then certain.
"""

import gc
import random
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedrouter.errors import OverloadedError, ProviderUnavailableError
from embedrouter.minilm.batcher import Batcher, BatchStats
from embedrouter.minilm.queue import _BUCKET
from embedrouter.minilm.windows import Ids, Vectors

from .fakes import PATIENCE, FakeEngine, eventually, occupy, running, sequence, vectors_of


def bulk(count: int, seed: int = 0, lengths: tuple[int, int] = (8, 64)) -> list[Ids]:
    chance = random.Random(seed)
    return [sequence(chance.randint(*lengths), tag=seed * 1_000_000 + i + 1) for i in range(count)]


def answer(future: "Future[Vectors]") -> Vectors:
    return future.result(PATIENCE)


def padded(batch: Sequence[Ids]) -> int:
    """What a batch costs an engine that pads to the longest sequence, as the batcher counts it."""
    return len(batch) * -(-max(map(len, batch)) // _BUCKET) * _BUCKET


# --- no timers, good batches


def test_a_single_sequence_is_computed_at_once_and_alone() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        engine.gate.clear()
        future = batcher.submit([sequence(12)])
        engine.wait_entered()  # nothing else was ever submitted
        engine.gate.set()
        np.testing.assert_array_equal(answer(future), vectors_of([sequence(12)]))
    assert [len(batch) for batch in engine.batches] == [1]


def test_what_came_while_the_worker_was_busy_becomes_one_batch() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        futures = [batcher.submit([sequence(16, tag)]) for tag in range(1, 21)]
        engine.gate.set()
        for tag, future in enumerate(futures, 1):
            np.testing.assert_array_equal(answer(future), vectors_of([sequence(16, tag)]))
    assert [len(batch) for batch in engine.batches] == [1, 20]


def test_no_sequences_are_answered_without_the_engine() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        assert answer(batcher.submit([])).shape == (0, 384)
    assert engine.batches == []


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 256), min_size=1, max_size=200),
    st.integers(256, 2048),
    st.booleans(),
    st.integers(1, 3),
)
def test_batches_keep_to_the_budget_pad_little_and_answer_in_order(
    lengths: list[int], budget: int, pads: bool, callers: int
) -> None:
    engine = FakeEngine(pads=pads)
    sequences = [sequence(length, tag) for tag, length in enumerate(lengths, 1)]
    with running(engine, token_budget=budget) as batcher:
        occupy(engine, batcher)
        futures = [batcher.submit(sequences[caller::callers]) for caller in range(callers)]
        engine.gate.set()
        for caller, future in enumerate(futures):
            np.testing.assert_array_equal(answer(future), vectors_of(sequences[caller::callers]))
    for batch in engine.batches:
        real = sum(map(len, batch))
        if pads:
            same_bucket = len({(len(ids) - 1) // _BUCKET for ids in batch}) == 1
            assert padded(batch) <= budget
            assert same_bucket or padded(batch) <= 1.15 * real + 16
        else:
            assert real <= budget
    assert sorted(engine.served()[1:]) == sorted(ids.tobytes() for ids in sequences)


@pytest.mark.parametrize(("count", "length", "batches"), [(100, 32, 7), (5, 256, 3), (64, 8, 1), (65, 8, 2)])
def test_equal_lengths_fill_every_batch_to_its_budget(count: int, length: int, batches: int) -> None:
    engine = FakeEngine()
    with running(engine, token_budget=512) as batcher:
        occupy(engine, batcher)
        future = batcher.submit([sequence(length, tag) for tag in range(1, count + 1)])
        engine.gate.set()
        answer(future)
    assert len(engine.batches) == 1 + batches


def test_a_budget_below_the_longest_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        Batcher(FakeEngine(), token_budget=255)


# --- several workers


def test_idle_workers_share_one_callers_sequences() -> None:
    engine = FakeEngine(workers=4)
    with running(engine, token_budget=4096) as batcher:
        eventually(lambda: batcher._idle == 4)
        engine.gate.clear()
        future = batcher.submit(bulk(64, lengths=(32, 32)))
        for _ in range(4):
            engine.wait_entered()
        engine.gate.set()
        answer(future)


def test_no_worker_sleeps_while_a_sequence_waits() -> None:
    # Few tokens, but of lengths that do not share a batch: one worker is woken, and must wake the next.
    engine = FakeEngine(workers=2)
    with running(engine) as batcher:
        eventually(lambda: batcher._idle == 2)
        engine.gate.clear()
        future = batcher.submit([sequence(3), sequence(60)])
        engine.wait_entered()
        engine.wait_entered()
        engine.gate.set()
        answer(future)


# --- fairness


def test_a_single_text_overtakes_a_bulk_request_that_was_there_first() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        large = batcher.submit(bulk(2048, lengths=(16, 128)))
        single = batcher.submit([sequence(40, tag=-100)])
        engine.gate.set()
        answer(single)
        answer(large)
    assert engine.batch_of(sequence(40, tag=-100)) <= 3
    assert len(engine.batches) > 200


@pytest.mark.parametrize("moment", [1, 2, 3, 50, 101])
def test_a_single_text_overtakes_whenever_it_comes(moment: int) -> None:
    singles: list[Future[Vectors]] = []

    def hook(_: Sequence[Ids]) -> None:
        if len(engine.batches) == moment:
            singles.append(batcher.submit([sequence(200, tag=-100)]))

    engine = FakeEngine(hook=hook)
    with running(engine) as batcher:
        answer(batcher.submit(bulk(2048)))
        answer(singles[0])
    assert engine.batch_of(sequence(200, tag=-100)) < moment + 3


def test_a_bulk_request_finishes_under_more_single_texts_than_fit() -> None:
    done_after: list[int] = []

    def hook(_: Sequence[Ids]) -> None:
        if len(engine.batches) < 600 and not done_after:  # three arrive for each two that a batch can hold
            for i in range(3):
                batcher.submit([sequence(250, tag=-3 * len(engine.batches) - i)])

    engine = FakeEngine(hook=hook)
    with running(engine, token_budget=512) as batcher:
        occupy(engine, batcher)
        large = batcher.submit(bulk(64, lengths=(100, 104)))
        large.add_done_callback(lambda _: done_after.append(len(engine.batches)))
        engine.gate.set()
        answer(large)
    # Each fourth batch is its own: 64 sequences of 104 tokens, four a batch.
    assert done_after[0] <= 4 * 16 + 8


def test_asking_for_the_same_bulk_twice_buys_no_precedence() -> None:
    """A retry shares the first request's sequences; it must not lift all of them before everybody else."""
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        futures = [batcher.submit(bulk(1024)) for _ in range(2)]
        single = batcher.submit([sequence(200, tag=-100)])
        engine.gate.set()
        answer(single)
        for future in futures:
            np.testing.assert_array_equal(answer(future), vectors_of(bulk(1024)))
    assert engine.batch_of(sequence(200, tag=-100)) <= 3
    assert len(engine.served()) == 1 + 1024 + 1


def test_a_text_wanted_by_a_new_caller_moves_up_for_both() -> None:
    engine = FakeEngine()
    texts = bulk(1024, lengths=(16, 64))
    with running(engine) as batcher:
        occupy(engine, batcher)
        last = max(texts, key=len)
        large = batcher.submit(texts)
        single = batcher.submit([last])
        engine.gate.set()
        np.testing.assert_array_equal(answer(single), vectors_of([last]))
        answer(large)
    assert engine.batch_of(last) <= 3


# --- the same text in flight


def test_identical_sequences_that_wait_are_computed_once() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        futures = [batcher.submit([sequence(9, 1), sequence(9, 2), sequence(9, 1)]) for _ in range(3)]
        engine.gate.set()
        for future in futures:
            np.testing.assert_array_equal(answer(future), vectors_of([sequence(9, 1), sequence(9, 2), sequence(9, 1)]))
    assert len(engine.served()) == 1 + 2


def test_a_sequence_that_is_being_computed_is_not_computed_again() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        engine.gate.clear()
        first = batcher.submit([sequence(9, 1)])
        engine.wait_entered()
        second = batcher.submit([sequence(9, 1)])
        assert batcher.queued_tokens == 0
        engine.gate.set()
        np.testing.assert_array_equal(answer(first), answer(second))
    assert len(engine.served()) == 1


@pytest.mark.parametrize("leaver", [0, 1])
@pytest.mark.parametrize("computing", [False, True])
def test_when_one_of_two_callers_leaves_the_other_is_answered(leaver: int, computing: bool) -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        if not computing:
            occupy(engine, batcher)
        engine.gate.clear()
        futures = [batcher.submit([sequence(9, 1)])]
        if computing:
            engine.wait_entered()
        futures.append(batcher.submit([sequence(9, 1)]))
        assert futures[leaver].cancel()
        engine.gate.set()
        np.testing.assert_array_equal(answer(futures[1 - leaver]), vectors_of([sequence(9, 1)]))
        with pytest.raises(CancelledError):
            futures[leaver].result(0)
    assert engine.served().count(sequence(9, 1).tobytes()) == 1


def test_callers_own_their_vectors() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        one, other = (batcher.submit([sequence(9, 1)]) for _ in range(2))
        engine.gate.set()
        answer(one)[:] = 0
        np.testing.assert_array_equal(answer(other), vectors_of([sequence(9, 1)]))


# --- giving up


def test_a_cancelled_request_is_never_computed() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        given_up = batcher.submit(bulk(500, seed=1))
        kept = batcher.submit(bulk(3, seed=2))
        assert given_up.cancel()
        engine.gate.set()
        answer(kept)
        eventually(lambda: batcher.queued_tokens == 0)
    served = set(engine.served())
    assert not served & {ids.tobytes() for ids in bulk(500, seed=1)}
    assert served >= {ids.tobytes() for ids in bulk(3, seed=2)}


def test_cancelling_keeps_what_somebody_else_wants() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        given_up = batcher.submit([sequence(9, 1), sequence(9, 2)])
        kept = batcher.submit([sequence(9, 2), sequence(9, 3)])
        given_up.cancel()
        engine.gate.set()
        np.testing.assert_array_equal(answer(kept), vectors_of([sequence(9, 2), sequence(9, 3)]))
    assert sequence(9, 1).tobytes() not in engine.served()


def test_a_text_can_be_asked_for_again_after_it_was_dropped() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        batcher.submit([sequence(9, 1)]).cancel()
        again = batcher.submit([sequence(9, 1)])
        engine.gate.set()
        np.testing.assert_array_equal(answer(again), vectors_of([sequence(9, 1)]))
        np.testing.assert_array_equal(answer(batcher.submit([sequence(9, 1)])), vectors_of([sequence(9, 1)]))


# --- failures


def refuse_long(sequences: Sequence[Ids]) -> None:
    if any(len(ids) == 256 for ids in sequences):
        raise ValueError("poison")


def test_a_failing_batch_fails_its_own_callers_and_nobody_else() -> None:
    engine = FakeEngine(hook=refuse_long)
    with running(engine) as batcher:
        occupy(engine, batcher)
        bad = batcher.submit([sequence(256, 1), sequence(10, 2)])
        good = batcher.submit([sequence(10, 3)])
        engine.gate.set()
        np.testing.assert_array_equal(answer(good), vectors_of([sequence(10, 3)]))
        with pytest.raises(ProviderUnavailableError) as caught:
            answer(bad)
        assert "poison" not in caught.value.message
        np.testing.assert_array_equal(answer(batcher.submit([sequence(5)])), vectors_of([sequence(5)]))
        assert (batcher.restarts, batcher.live_workers) == (0, 1)
        eventually(lambda: batcher.queued_tokens == 0)


def test_what_is_left_of_a_failed_request_is_not_computed() -> None:
    engine = FakeEngine(hook=refuse_long)
    with running(engine, token_budget=256) as batcher:
        occupy(engine, batcher)
        # By age and by virtual time the short one comes first, then all others are the failed caller's.
        bad = batcher.submit([sequence(256, tag) for tag in range(1, 100)])
        engine.gate.set()
        with pytest.raises(ProviderUnavailableError):
            answer(bad)
        eventually(lambda: batcher.queued_tokens == 0)
    assert len(engine.batches) <= 3


def test_an_engine_that_answers_the_wrong_number_of_vectors_fails_the_batch() -> None:
    class Short(FakeEngine):
        def embed(self, sequences: Sequence[Ids]) -> Vectors:
            return super().embed(sequences)[:-1]

    with running(Short()) as batcher, pytest.raises(ProviderUnavailableError):
        answer(batcher.submit([sequence(9, 1), sequence(9, 2)]))


@pytest.mark.parametrize("length", [0, 257, 300])
def test_a_sequence_the_model_cannot_take_is_refused_and_leaves_nothing_behind(length: int) -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        for _ in range(2):
            with pytest.raises(ValueError, match="256"):
                batcher.submit([sequence(9), np.zeros(length, np.int32)])
        assert batcher.queued_tokens == 0
        assert answer(batcher.submit([sequence(9)])).shape == (1, 384)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_dead_worker_is_replaced_and_its_callers_fail(error: BaseException, workers: int) -> None:
    def hook(sequences: Sequence[Ids]) -> None:
        if any(ids[0] == 666 for ids in sequences):
            raise error

    engine = FakeEngine(workers=workers, hook=hook)
    with running(engine) as batcher:
        occupy(engine, batcher)
        bad = batcher.submit([sequence(256, 666)])
        good = batcher.submit([sequence(10, 3)])
        engine.gate.set()
        with pytest.raises(ProviderUnavailableError):
            answer(bad)
        np.testing.assert_array_equal(answer(good), vectors_of([sequence(10, 3)]))
        eventually(lambda: batcher.restarts == 1 and batcher.live_workers == workers)
        np.testing.assert_array_equal(answer(batcher.submit(bulk(50))), vectors_of(bulk(50)))


def test_a_watcher_that_raises_costs_nobody_an_answer() -> None:
    def watcher(_: BatchStats) -> None:
        raise RuntimeError("no metrics today")

    engine = FakeEngine()
    with running(engine, watcher=watcher) as batcher:
        for tag in range(3):
            np.testing.assert_array_equal(answer(batcher.submit([sequence(9, tag)])), vectors_of([sequence(9, tag)]))
        assert batcher.queued_tokens == 0


def test_the_watcher_sees_every_batch() -> None:
    seen: list[BatchStats] = []
    engine = FakeEngine(hook=refuse_long)
    with running(engine, watcher=seen.append) as batcher:
        assert batcher.last_success == -float("inf")
        answer(batcher.submit([sequence(9, 1), sequence(10, 2)]))
        eventually(lambda: len(seen) == 1)
        worked = batcher.last_success
        assert worked > 0
        with pytest.raises(ProviderUnavailableError):
            answer(batcher.submit([sequence(256, 1)]))
        eventually(lambda: len(seen) == 2)
        assert batcher.last_success == worked
    assert [(one.sequences, one.tokens, one.failed) for one in seen] == [(2, 19, False), (1, 256, True)]
    assert all(one.queued_seconds >= 0 and one.compute_seconds >= 0 for one in seen)


# --- the bound of the queue


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    engine = FakeEngine()
    with running(engine, max_queued_tokens=1000) as batcher:
        occupy(engine, batcher)
        first = batcher.submit([sequence(200, tag) for tag in range(1, 5)])
        batcher.check_room(200)
        for attempt in (lambda: batcher.submit([sequence(201)]), lambda: batcher.check_room(201)):
            with pytest.raises(OverloadedError) as caught:
                attempt()
            assert caught.value.retry_after is not None
            assert caught.value.retry_after >= 1
            assert caught.value.status == 503
        second = batcher.submit([sequence(200, 9)])
        assert batcher.queued_tokens == 1000
        engine.gate.set()
        answer(first)
        answer(second)
        answer(batcher.submit([sequence(201)]))
    assert sequence(201).tobytes() in engine.served()


def test_a_queue_that_takes_too_long_refuses_and_says_when_to_come_back() -> None:
    engine = FakeEngine()
    with running(engine, max_wait=0.5) as batcher:
        occupy(engine, batcher)
        first = batcher.submit([sequence(250, tag) for tag in range(1, 401)])  # 100,000 tokens, taken as nothing waits
        batcher._rate = 25_000.0  # tokens a second
        with pytest.raises(OverloadedError) as caught:
            batcher.submit([sequence(250, tag) for tag in range(401, 801)])
        assert caught.value.retry_after == 4
        batcher._rate = 250_000.0
        second = batcher.submit([sequence(250, tag) for tag in range(401, 501)])
        engine.gate.set()
        answer(first)
        answer(second)


def test_a_small_call_is_taken_behind_a_large_one_that_it_overtakes() -> None:
    engine = FakeEngine()
    with running(engine, max_wait=0.5) as batcher:
        occupy(engine, batcher)
        large = batcher.submit([sequence(250, tag) for tag in range(1, 401)])
        batcher._rate = 1_000.0  # tokens a second: the large call takes 100 s
        small = batcher.submit([sequence(10, 9)])
        engine.gate.set()
        answer(small)
        answer(large)


def test_many_small_calls_are_refused_once_they_take_too_long() -> None:
    engine = FakeEngine()
    with running(engine, max_wait=1.0) as batcher:
        occupy(engine, batcher)
        batcher._rate = 1_000.0  # tokens a second
        taken: list[Future[Vectors]] = []
        with pytest.raises(OverloadedError) as caught:
            taken.extend(batcher.submit([sequence(10, tag)]) for tag in range(1, 1000))
        assert caught.value.retry_after == 1
        assert 90 <= len(taken) <= 110
        engine.gate.set()
        for future in taken:
            answer(future)


def test_a_refused_request_leaves_nothing_in_the_queue() -> None:
    engine = FakeEngine()
    with running(engine, max_queued_tokens=1000) as batcher:
        occupy(engine, batcher)
        first = batcher.submit([sequence(200, 1)])
        with pytest.raises(OverloadedError):
            batcher.submit([sequence(200, tag) for tag in range(1, 20)])
        assert batcher.queued_tokens == 200
        engine.gate.set()
        answer(first)
    assert len(engine.served()) == 2


def test_a_request_of_any_size_is_taken_when_nothing_waits() -> None:
    engine = FakeEngine()
    with running(engine, max_queued_tokens=1000) as batcher:
        occupy(engine, batcher)  # computing, but nothing waits
        batcher.check_room(100_000)
        future = batcher.submit(bulk(500))
        engine.gate.set()
        assert answer(future).shape == (500, 384)


def test_a_request_that_was_given_up_makes_room_at_once() -> None:
    engine = FakeEngine()
    with running(engine, max_queued_tokens=1000) as batcher:
        occupy(engine, batcher)
        batcher.submit([sequence(200, tag) for tag in range(1, 6)]).cancel()
        batcher.check_room(200)


# --- stopping


def test_closing_computes_what_was_taken_and_refuses_the_rest() -> None:
    engine = FakeEngine(workers=2)
    with running(engine) as batcher:
        occupy(engine, batcher)
        futures = [batcher.submit(bulk(40, seed)) for seed in range(1, 6)]
        closing = threading.Thread(target=batcher.close)
        closing.start()
        eventually(lambda: batcher._closing)
        with pytest.raises(OverloadedError, match="shutting down") as caught:
            batcher.submit([sequence(5)])
        assert caught.value.retry_after is not None
        assert not any(future.done() for future in futures)
        engine.gate.set()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert batcher.live_workers == 0
        for seed, future in enumerate(futures, 1):
            np.testing.assert_array_equal(future.result(0), vectors_of(bulk(40, seed)))
        batcher.close()


def test_closing_an_idle_batcher_stops_its_workers() -> None:
    with running(FakeEngine(workers=3)) as batcher:
        assert batcher.live_workers == 3
        batcher.close()
        assert batcher.live_workers == 0


def test_closing_waits_no_longer_than_it_is_told() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        occupy(engine, batcher)
        batcher.close(timeout=0.01)
        assert batcher.live_workers == 1


def test_a_worker_that_dies_while_closing_leaves_nobody_waiting() -> None:
    def hook(sequences: Sequence[Ids]) -> None:
        if any(ids[0] == 666 for ids in sequences):
            raise SystemExit

    engine = FakeEngine(hook=hook)
    with running(engine) as batcher:
        occupy(engine, batcher)
        bad = batcher.submit([sequence(2, 666)])
        good = batcher.submit([sequence(200, 1)])
        closing = threading.Thread(target=batcher.close)
        closing.start()
        eventually(lambda: batcher._closing)
        engine.gate.set()
        closing.join(PATIENCE)
        with pytest.raises(ProviderUnavailableError):
            bad.result(0)
        np.testing.assert_array_equal(good.result(0), vectors_of([sequence(200, 1)]))


# --- nothing is kept


def residue(batcher: Batcher) -> tuple[int, int, int, int]:
    """What the batcher still holds: tokens, texts in flight, entries of the queue, calls."""
    with batcher._work:
        return (batcher.queued_tokens, len(batcher._in_flight), batcher._queue.entries, batcher._calls)


@pytest.mark.parametrize("count", range(1, 100, 7))
def test_an_idle_batcher_holds_nothing(count: int) -> None:
    with running(FakeEngine()) as batcher:
        answer(batcher.submit(bulk(count)))
        given_up = batcher.submit(bulk(count, seed=1))
        given_up.cancel()
        eventually(lambda: residue(batcher) == (0, 0, 0, 0))


def test_an_answer_is_freed_with_its_future_and_without_the_collector() -> None:
    engine = FakeEngine()
    with running(engine) as batcher:
        gc.disable()
        try:
            future = batcher.submit(bulk(10))
            vectors = weakref.ref(answer(future))
            eventually(lambda: batcher._idle == 1)
            del future
            assert vectors() is None
        finally:
            gc.enable()


# --- everything at once

Script = tuple[list[tuple[int, int]], bool]  # one caller: (length, tag) of each sequence, and whether they leave

POISON, DEADLY = 99, 98

sequences_of_a_caller = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 256), st.sampled_from([8, 9, 64, 256])),
        st.one_of(st.integers(0, 3), st.sampled_from([POISON, DEADLY])),
    ),
    max_size=24,
)


@settings(max_examples=80)
@given(
    st.lists(st.lists(st.tuples(sequences_of_a_caller, st.booleans()), max_size=4), min_size=1, max_size=6),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([500, 4000, 2_000_000]),
)
def test_whatever_callers_and_engine_do_everyone_is_answered_rightly(
    callers: list[list[Script]], workers: int, pads: bool, misbehaves: bool, bound: int
) -> None:
    def hook(sequences: Sequence[Ids]) -> None:
        if misbehaves and any(ids[0] == POISON for ids in sequences):
            raise ValueError("poison")
        if misbehaves and any(ids[0] == DEADLY for ids in sequences):
            raise SystemExit

    engine = FakeEngine(workers=workers, pads=pads, hook=hook)
    futures: list[tuple[Future[Vectors], list[Ids], bool]] = []
    start = threading.Barrier(len(callers))

    def caller(scripts: list[Script]) -> None:
        start.wait(PATIENCE)
        for wanted, leaves in scripts:
            sequences = [sequence(length, tag) for length, tag in wanted]
            try:
                future = batcher.submit(sequences)
            except OverloadedError:
                continue
            left = leaves and future.cancel()
            futures.append((future, sequences, left))

    with running(engine, max_queued_tokens=bound) as batcher:
        threads = [threading.Thread(target=caller, args=(scripts,)) for scripts in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        for future, sequences, left in futures:
            if left:
                assert future.cancelled()
                continue
            try:
                vectors = answer(future)
            except ProviderUnavailableError:
                assert misbehaves
            else:
                np.testing.assert_array_equal(vectors, vectors_of(sequences))
                assert not misbehaves or all(ids[0] not in (POISON, DEADLY) for ids in sequences)
        eventually(lambda: residue(batcher) == (0, 0, 0, 0))
        eventually(lambda: batcher.live_workers == workers)
        assert all(padded(batch) <= 512 for batch in engine.batches) or not pads
