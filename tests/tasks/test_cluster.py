"""Groups of texts and vectors: that they are the right ones, every time, and what is said of them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score, v_measure_score

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.tasks import density, kmeans, linkage
from embedrouter.tasks.cluster import Clustering, cluster
from embedrouter.tasks.vectors import Items

SIZES = (90, 60, 40, 10)


def blobs(sizes: tuple[int, ...] = SIZES, noise: float = 0.05) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors of several lengths around as many directions as there are sizes, shuffled, and where each belongs."""
    random = np.random.default_rng(5)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    directions = np.linalg.qr(random.normal(size=(32, len(sizes))))[0].T
    vectors = directions[labels] + noise * random.normal(size=(len(labels), 32))
    return (vectors * random.uniform(0.5, 3, size=(len(labels), 1))).astype(np.float32), labels


def agree(found: Clustering, labels: NDArray[np.int64]) -> bool:
    return float(v_measure_score(labels, found.labels)) == pytest.approx(1.0)


def test_kmeans_finds_groups_and_numbers_them_by_size() -> None:
    vectors, labels = blobs()
    found = cluster(vectors, k=4)
    assert agree(found, labels)
    assert [one.size for one in found.clusters] == sorted(SIZES, reverse=True)
    assert [one.label for one in found.clusters] == [0, 1, 2, 3]
    assert found.labels.dtype == np.int64
    assert np.bincount(found.labels).tolist() == [90, 60, 40, 10]


def test_the_number_of_groups_is_found() -> None:
    vectors, labels = blobs()
    assert agree(cluster(vectors), labels)


def test_the_same_seed_gives_the_same_groups() -> None:
    vectors, _ = blobs(noise=0.3)
    first, again, other = (cluster(vectors, k=12, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.clusters == again.clusters
    assert not np.array_equal(first.labels, other.labels)


def test_the_central_item_is_the_nearest_to_the_mean_of_its_group() -> None:
    vectors, _ = blobs()
    found = cluster(vectors, k=4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for one in found.clusters:
        members = np.flatnonzero(found.labels == one.label)
        assert one.central == members[(unit[members] @ unit[members].mean(axis=0)).argmax()]


def test_silhouettes_are_sklearns() -> None:
    vectors, labels = blobs((20, 9, 3, 1), noise=0.2)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = silhouette_score(unit, labels, metric="cosine")
    assert kmeans.silhouette(unit, labels) == pytest.approx(expected, abs=1e-5)


def test_more_vectors_than_the_sample_are_all_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "_SAMPLE", 60)
    monkeypatch.setattr(kmeans, "_BLOCK", 7)
    vectors, labels = blobs((90, 60, 40))
    assert agree(cluster(vectors, k=3), labels)


@pytest.mark.parametrize("k", [None, 1, 3])
def test_identical_items_are_one_group(k: int | None) -> None:
    found = cluster(np.ones((5, 8)), k=k)
    assert found.labels.tolist() == [0] * 5
    assert [one.size for one in found.clusters] == [5]


def test_few_items() -> None:
    empty: list[Items] = [[], np.empty((0, 8))]
    for nothing in empty:
        assert cluster(nothing).labels.shape == (0,)
        assert cluster(nothing).clusters == []
    assert cluster(np.ones((1, 8))).labels.tolist() == [0]
    assert cluster(np.eye(3), k=3).labels.tolist() == [0, 1, 2]
    with pytest.raises(InvalidRequestError, match="k is 4, and there are only 3 items"):
        cluster(np.eye(3), k=4)


def test_dense_groups_leave_out_what_lies_between() -> None:
    vectors, labels = blobs((30, 20, 12))
    noise = np.random.default_rng(1).normal(size=(15, 32)).astype(np.float32)
    found = cluster(np.concatenate([vectors, noise]), method="hdbscan", smallest=8)
    assert agree(Clustering(found.labels[: len(labels)], []), labels)
    assert (found.labels[len(labels) :] == -1).mean() > 0.5
    assert len(found.clusters) == 3


def test_fewer_items_than_the_smallest_group_are_none() -> None:
    assert cluster(np.eye(4), method="hdbscan").labels.tolist() == [-1] * 4
    assert cluster(np.ones((9, 40)), method="hdbscan").labels.tolist() == [0] * 9


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.8])
def test_agglomerative_groups_are_sklearns(threshold: float) -> None:
    vectors, _ = blobs((50, 40, 30), noise=0.2)
    expected = AgglomerativeClustering(None, metric="cosine", linkage="average", distance_threshold=1 - threshold)
    found = cluster(vectors, method="agglomerative", threshold=threshold)
    labels = expected.fit_predict(vectors)
    alone = np.bincount(labels)[labels] == 1
    np.testing.assert_array_equal(found.labels == -1, alone)
    assert len(found.clusters) == len(set(labels[~alone]))
    assert v_measure_score(labels[~alone], found.labels[~alone]) == pytest.approx(1.0)


def test_islands_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = blobs((50, 40, 30), noise=0.2)
    whole = cluster(vectors, method="agglomerative", threshold=0.4).labels
    monkeypatch.setattr(linkage, "_PAIRS", 500)
    np.testing.assert_array_equal(cluster(vectors, method="agglomerative", threshold=0.4).labels, whole)


def test_too_many_items_are_told_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkage, "MOST_TOGETHER", 30)
    monkeypatch.setattr(density, "MOST", 30)
    vectors, _ = blobs()
    with pytest.raises(InvalidRequestError, match=r"90 items hang together.*higher threshold, or kmeans"):
        cluster(vectors, method="agglomerative", threshold=0.6)
    with pytest.raises(InvalidRequestError, match="up to 30 items, and these are 200: use kmeans"):
        cluster(vectors, method="hdbscan")


def test_texts_are_grouped_and_named(model: MiniLM) -> None:
    texts = [
        "Bake the bread in a hot oven.",
        "Knead the dough for the bread.",
        "A sourdough bread needs flour, water and salt.",
        "The goalkeeper saved a penalty in the football match.",
        "The football team won the match.",
        "Two goals decided the football match.",
    ]
    found = cluster(texts, k=2, encoder=model)
    assert found.labels.tolist() in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
    named = {one.words[0]: one for one in found.clusters}
    assert named.keys() == {"bread", "football"}
    assert named["bread"].central in {0, 1, 2}
    assert named["football"].title.startswith("football, match")
    same = cluster(model.encode(texts), k=2, texts=texts)
    assert same.clusters == found.clusters


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "spectral"}, "method is one of kmeans, hdbscan, agglomerative, not 'spectral'"),
        ({"k": 0}, "k must be at least 1"),
        ({"k": 2, "method": "hdbscan"}, "k is for kmeans"),
        ({"threshold": 0.5}, "threshold is for agglomerative, not kmeans"),
        ({"threshold": 1.5, "method": "agglomerative"}, "threshold is a cosine"),
        ({"smallest": 3}, "smallest is for hdbscan and agglomerative"),
        ({"smallest": 1, "method": "hdbscan"}, "smallest must be at least 2"),
        ({"texts": ["one"]}, "1 texts for 4 vectors"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        cluster(np.eye(4), **options)


def test_groups_of_groups_are_not_taken_for_two_halves() -> None:
    random = np.random.default_rng(2)
    halves = np.linalg.qr(random.normal(size=(64, 2)))[0].T
    topics = np.repeat(halves, 8, axis=0) + 0.08 * random.normal(size=(16, 64))
    vectors = np.repeat(topics, 25, axis=0) + 0.05 * random.normal(size=(400, 64))
    assert len(cluster(vectors).clusters) > 8
