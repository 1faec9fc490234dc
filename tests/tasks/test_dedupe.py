"""Near duplicates and paraphrases."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.tasks.dedupe import KEEPS, Keep, deduplicate
from embedrouter.tasks.pairs import likely_pairs
from embedrouter.tasks.paraphrase import paraphrase_pairs
from embedrouter.tasks.rows import ArrayRows
from embedrouter.tasks.unions import Unions

from .directions import Matrix, bunches, cosines, unit

TEXTS = [
    "How do I renew my passport?",
    "The weather is fine today.",
    "How do I renew my passport?",
    "How can I renew my passport, please?",
]


def groups_of(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The lowest of each one's group, the plain way."""
    lowest = list(range(count))
    pairs = list(pairs)
    while True:
        before = list(lowest)
        for left, right in pairs:
            lowest[left] = lowest[right] = min(lowest[left], lowest[right])
        if lowest == before:
            return lowest


def plain_pairs(vectors: Matrix, threshold: float) -> list[tuple[int, int]]:
    scores = cosines(vectors, vectors)
    return [(i, j) for i in range(len(vectors)) for j in range(i + 1, len(vectors)) if scores[i, j] >= threshold]


@st.composite
def clouds(draw: st.DrawFn) -> Matrix:
    """Few directions with copies and neighbours."""
    vectors = bunches(draw(st.integers(1, 60)), 6, draw(st.integers(0, 1000)), draw(st.sampled_from([0.1, 0.3, 0.7])))
    copies = draw(st.lists(st.integers(0, len(vectors) - 1), max_size=6))
    return np.concatenate((vectors, vectors[copies]))


@given(vectors=clouds(), threshold=st.sampled_from([0.5, 0.8, 0.95, 0.999]), keep=st.sampled_from(KEEPS))
def test_groups_are_what_chains_of_near_pairs_connect(vectors: Matrix, threshold: float, keep: Keep) -> None:
    texts = ["x" * (7 * i % 5 + 1) for i in range(len(vectors))]
    found = deduplicate(vectors, threshold=threshold, keep=keep, texts=texts)
    expected = groups_of(len(vectors), plain_pairs(vectors, threshold))
    members: dict[int, list[int]] = {}
    for item, lowest in enumerate(expected):
        members.setdefault(lowest, []).append(item)
    assert len(found.kept) == len(members)
    assert found.kept.tolist() == sorted(set(found.of.tolist()))
    for item, lowest in enumerate(expected):
        kept = int(found.of[item])
        assert expected[kept] == lowest
        if keep == "first":
            assert kept == lowest
        if keep == "longest":
            assert kept == max(members[lowest], key=lambda one: (len(texts[one]), -one))
        if keep == "central":
            middle = vectors[members[lowest]].sum(axis=0, dtype=np.float64)
            nearness = [float(vectors[one] @ middle) / float(np.linalg.norm(middle)) for one in members[lowest]]
            assert float(vectors[kept] @ middle) / float(np.linalg.norm(middle)) >= max(nearness) - 2e-6
    assert found.groups == [
        [kept, *(one for one in sorted(members[expected[kept]]) if one != kept)]
        for kept in found.kept.tolist()
        if len(members[expected[kept]]) > 1
    ]


@given(vectors=clouds(), threshold=st.sampled_from([0.5, 0.8, 0.95]), most=st.none() | st.integers(1, 20))
def test_paraphrases_are_the_near_pairs_best_first(vectors: Matrix, threshold: float, most: int | None) -> None:
    found = paraphrase_pairs(vectors, threshold=threshold, most=most)
    scores = cosines(vectors, vectors)
    expected = plain_pairs(vectors, threshold)
    assert len(found) == (len(expected) if most is None else min(most, len(expected)))
    assert {(pair.left, pair.right) for pair in found} <= set(expected)
    assert found == sorted(found, key=lambda pair: (-pair.score, pair.left, pair.right))
    assert [pair.score for pair in found] == pytest.approx(
        sorted((scores[i, j] for i, j in expected), reverse=True)[: len(found)], abs=1e-6
    )


def test_texts_that_say_the_same_are_found(model: MiniLM) -> None:
    found = deduplicate(TEXTS, threshold=0.9, keep="longest", encoder=model)
    assert found.of.tolist() == [3, 1, 3, 3]
    assert found.kept.tolist() == [1, 3]
    assert found.groups == [[3, 0, 2]]
    assert deduplicate(TEXTS, threshold=1.0, encoder=model).of.tolist() == [0, 1, 0, 3]
    best, *_ = paraphrase_pairs(TEXTS, encoder=model)
    assert best == (1.0, 0, 2)


def test_of_two_the_first_is_the_central_one() -> None:
    vectors = bunches(1, 384)
    assert deduplicate(np.concatenate((vectors, unit(vectors + 0.001))), keep="central").of.tolist() == [0, 0]


def test_nothing_has_no_duplicates() -> None:
    none = np.empty((0, 8), np.float32)
    for keep in ("first", "central"):
        assert deduplicate(none, keep=keep).kept.tolist() == []
    assert paraphrase_pairs(none) == []


def test_what_is_wrong_is_named() -> None:
    vectors = bunches(3, 8)
    with pytest.raises(InvalidRequestError, match="threshold is a cosine"):
        deduplicate(vectors, threshold=95)
    with pytest.raises(InvalidRequestError, match='keep="longest" needs the texts'):
        deduplicate(vectors, keep="longest")
    with pytest.raises(InvalidRequestError, match="there are 3 items and 1 texts"):
        deduplicate(vectors, keep="longest", texts=["a"])
    with pytest.raises(InvalidRequestError, match="keep is one of first, longest, central, not last"):
        deduplicate(vectors, keep="last")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="most has to be at least 1, not 0"):
        paraphrase_pairs(vectors, most=0)


def test_among_many_rows_nearly_all_pairs_are_found_and_none_that_is_not() -> None:
    vectors = bunches(4_000, 48, spread=0.2)
    threshold = 0.97
    scores = cosines(vectors, vectors)
    true = set(zip(*np.nonzero(np.triu(scores >= threshold, 1)), strict=True))
    found = {
        pair
        for part in likely_pairs(ArrayRows(vectors, "item"), threshold)
        for pair in zip(part.left.tolist(), part.right.tolist(), strict=True)
    }
    assert len(true) > 300
    assert found <= true
    assert len(found) >= 0.99 * len(true)


def test_a_large_file_of_halves_is_divided_and_its_copies_are_found(tmp_path: Path) -> None:
    count, dimensions = 50_500, 32
    vectors = np.random.default_rng(3).standard_normal((count, dimensions)).astype(np.float16)
    copies = np.random.default_rng(4).permutation(count)[:4_000].reshape(2, 2_000)
    vectors[copies[0]] = vectors[copies[1]]
    vectors[:3_000] = vectors[0]  # more of one than a block holds
    np.save(tmp_path / "vectors.npy", vectors)
    found = deduplicate(np.load(tmp_path / "vectors.npy", mmap_mode="r"), threshold=0.9999)
    assert (found.of[:3_000] == 0).all()
    apart = copies[:, (copies >= 3_000).all(axis=0)]
    assert (found.of[apart[0]] == found.of[apart[1]]).all()
    assert len(found.kept) == len(np.unique(vectors, axis=0))


@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40), parts=st.integers(1, 4))
def test_unions_are_named_by_their_lowest(pairs: list[tuple[int, int]], parts: int) -> None:
    unions = Unions(20)
    for part in range(parts):
        some = np.array(pairs[part::parts], np.int64).reshape(-1, 2)
        unions.join(some[:, 0], some[:, 1])
    assert unions.roots().tolist() == groups_of(20, pairs)
