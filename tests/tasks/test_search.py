"""Semantic search and ranking."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.tasks.best import top
from embedrouter.tasks.rank import rank
from embedrouter.tasks.search import semantic_search

from .directions import bunches, cosines

TEXTS = [
    "The cat sat on the mat.",
    "Share prices fell on Monday.",
    "A kitten was asleep on the rug.",
    "The court adjourned the hearing.",
]


def test_the_nearest_texts_come_first(model: MiniLM) -> None:
    found = semantic_search(["pets", "the stock market"], TEXTS, top_k=2, encoder=model)
    assert [{match.index for match in matches} for matches in found][0] == {0, 2}
    assert found[1][0].index == 1
    scores = cosines(model.encode(["pets", "the stock market"]), model.encode(TEXTS))
    for row, matches in enumerate(found):
        assert [match.score for match in matches] == pytest.approx([scores[row, match.index] for match in matches])


@given(
    corpus=st.integers(1, 80),
    top_k=st.integers(1, 90),
    seed=st.integers(0, 1000),
    kind=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_vectors_are_found_as_comparing_each_with_each_finds_them(
    corpus: int, top_k: int, seed: int, kind: type[np.floating]
) -> None:
    random = np.random.default_rng(seed)
    offered = (random.normal(size=(corpus, 8)) * random.uniform(0.1, 9, (corpus, 1))).astype(kind)
    asked = random.normal(size=(3, 8)).astype(kind)
    scores = cosines(asked, offered)
    for row, matches in enumerate(semantic_search(asked, offered, top_k=top_k)):
        assert len({match.index for match in matches}) == min(top_k, corpus)
        assert [match.score for match in matches] == pytest.approx(np.sort(scores[row])[::-1][:top_k], abs=1e-6)
        assert [match.score for match in matches] == pytest.approx([scores[row, m.index] for m in matches], abs=1e-6)


def test_of_equal_items_the_first_come_first_wherever_they_stand() -> None:
    corpus = bunches(40_000, 48)
    query = corpus[1234].copy()
    places = [7, 1234, 16_383, 16_384, 16_390, 33_001, 39_999]
    corpus[places] = query
    [found] = semantic_search(query[None], corpus, top_k=5)
    assert [match.index for match in found] == places[:5]
    assert {match.score for match in found} == {1.0}


def test_of_more_equal_items_than_are_looked_at_the_first_are_given() -> None:
    corpus = np.repeat(bunches(2, 48, seed=5), 3_000, axis=0)[::-1]
    found = semantic_search(corpus[-1:], np.ascontiguousarray(corpus), top_k=4)
    assert [match.index for match in found[0]] == [3_000, 3_001, 3_002, 3_003]


def test_a_mapped_corpus_is_not_read_whole(tmp_path: Path) -> None:
    halves = np.random.default_rng(0).standard_normal((200_000, 64), np.float32).astype(np.float16)
    np.save(tmp_path / "corpus.npy", halves)
    corpus = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    query = np.array(corpus[199_999:])
    tracemalloc.start()
    try:
        [[found]] = semantic_search(query, corpus, top_k=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.index == 199_999
    assert peak < 32 * 2**20  # all as float32 would be 51 MB


@pytest.mark.parametrize("scores", [[], [1.0], [0.5, 0.5, 0.1, 0.5], [-1.0, 0.0, 1.0]])
@pytest.mark.parametrize("k", [0, 1, 2, 9])
def test_top_gives_the_places_of_the_highest_the_lower_of_equals_first(scores: list[float], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:k]
    assert top(np.array(scores), k).tolist() == expected


def test_nothing_is_found_in_nothing() -> None:
    assert semantic_search(bunches(2, 8), np.empty((0, 8), np.float32)) == [[], []]
    assert semantic_search(np.empty((0, 8), np.float32), bunches(2, 8)) == []


def test_what_is_wrong_is_named(model: MiniLM) -> None:
    corpus = bunches(5, 8)
    with pytest.raises(InvalidRequestError, match="queries have 9 dimensions, and the corpus 8"):
        semantic_search(bunches(1, 9), corpus)
    with pytest.raises(InvalidRequestError, match="top_k has to be at least 1, not 0"):
        semantic_search(corpus, corpus, top_k=0)
    corpus[3] = 0
    with pytest.raises(InvalidRequestError, match="the vector of item 3 is zero or not finite"):
        semantic_search(bunches(1, 8), corpus)
    with pytest.raises(InvalidRequestError, match="item 1 is empty"):
        semantic_search(["a"], ["b", " "], encoder=model)
    with pytest.raises(InvalidRequestError, match="query 0 is not a text"):
        semantic_search([3], ["b"], encoder=model)  # type: ignore[list-item]
    with pytest.raises(InvalidRequestError, match="put it into a list"):
        semantic_search("a", ["b"], encoder=model)


def test_documents_are_ranked_by_how_well_they_answer(model: MiniLM) -> None:
    ranked = rank("What happened on the stock market?", TEXTS, encoder=model)
    assert ranked[0].index == 1
    assert sorted(one.index for one in ranked) == [0, 1, 2, 3]
    assert [one.text for one in ranked] == [TEXTS[one.index] for one in ranked]
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    assert rank("What happened on the stock market?", TEXTS, top_k=1, encoder=model) == ranked[:1]
    assert rank("Anything?", [], encoder=model) == []
