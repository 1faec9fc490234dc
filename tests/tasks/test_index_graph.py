"""The index above the border: searched by a graph."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedrouter.tasks.copies import Copies
from embedrouter.tasks.hnsw import Graph
from embedrouter.tasks.index import Index
from embedrouter.tasks.storage import STORAGES, Storage, quantised

from .directions import Matrix, bunches, cosines, unit

COUNT = 21_000  # above which a graph is used at all
DIMENSIONS = 32
VECTORS = bunches(COUNT, DIMENSIONS)
QUERIES = unit(VECTORS[::210] + 0.05 * bunches(100, DIMENSIONS, seed=2))
FAR = cosines(QUERIES[:1], VECTORS)[0].argsort().argsort() < COUNT - 900  # from the first query


@pytest.fixture(scope="module")
def graph() -> Index:
    index = Index(DIMENSIONS, kind="hnsw", threads=1)
    rows = zip(range(COUNT), FAR.tolist(), strict=True)
    index.add(VECTORS, metadata=[{"third": row % 3, "hundredth": row % 100, "far": far} for row, far in rows])
    return index


def recall(index: Index, allowed: NDArray[np.bool_], queries: Matrix = QUERIES, **options: object) -> float:
    scores = cosines(queries, VECTORS)
    scores[:, ~allowed] = -2
    true = np.argsort(-scores, axis=1)[:, :10]
    found = index.search(queries, top_k=10, **options)  # type: ignore[arg-type]
    assert all(allowed[hit.id] for hits in found for hit in hits)
    return float(
        np.mean([len({hit.id for hit in hits} & set(row)) / 10 for hits, row in zip(found, true, strict=True)])
    )


def test_nearly_all_true_neighbours_are_found(graph: Index) -> None:
    assert graph.info().kind == "hnsw"
    assert recall(graph, np.ones(COUNT, np.bool_)) >= 0.99
    measured = graph.measure_recall(sample=100)
    assert measured >= 0.99
    assert graph.info().recall == measured


def test_scores_are_those_of_the_stored_vectors(graph: Index) -> None:
    [hits] = graph.search(QUERIES[:1], top_k=5)
    scores = cosines(QUERIES[:1], VECTORS)[0]
    assert [hit.score for hit in hits] == pytest.approx([scores[hit.id] for hit in hits], abs=1e-6)


@pytest.mark.parametrize("where", [{"third": [0, 1]}, {"third": 2, "far": True}, {"hundredth": 7}])
def test_filters_lose_nothing(graph: Index, where: dict[str, object]) -> None:
    rows = np.arange(COUNT)
    allowed = rows % 100 == 7 if "hundredth" in where else rows % 3 == 2 if "far" in where else rows % 3 < 2
    assert recall(graph, allowed & FAR if "far" in where else allowed, where=where) >= 0.99


def test_a_filter_that_leaves_out_all_that_is_near_finds_what_is_far(graph: Index) -> None:
    [hits] = graph.search(QUERIES[:1], top_k=5, where={"far": True})
    scores = np.where(FAR, cosines(QUERIES[:1], VECTORS)[0], -2)
    assert [hit.id for hit in hits] == np.argsort(-scores)[:5].tolist()


def test_an_index_that_grows_over_the_border_becomes_a_graph_and_back(tmp_path: Path) -> None:
    index = Index(DIMENSIONS, graph_from=3_000, threads=1)
    index.add(VECTORS[:2_999])
    assert index.info().kind == "exact"
    index.add(VECTORS[2_999:3_000])
    assert index.info().kind == "hnsw"
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert loaded.info().kind == "hnsw"
    loaded.add(VECTORS[3_000:3_500])
    loaded.delete(range(2_000))
    assert loaded.info().kind == "exact"
    assert [hits[0].id for hits in loaded.search(VECTORS[2_500:3_500:100], top_k=1)] == list(range(2_500, 3_500, 100))


@pytest.mark.parametrize("storage", STORAGES)
def test_the_loss_of_each_storage_is_measured(storage: Storage) -> None:
    index = Index(DIMENSIONS, storage=storage)
    index.add(VECTORS[:5_000])
    assert index.measure_recall(sample=50) == 1.0
    lost = index.measure_recall(sample=50, against=VECTORS[:5_000])
    assert lost == 1.0 if storage == "float32" else lost > {"float16": 0.995, "int8": 0.95}[storage]
    sizes: dict[Storage, int] = {"float32": 4, "float16": 2, "int8": 1}
    info = index.info()
    assert 0 < info.bytes_in_memory - 5_000 * DIMENSIONS * sizes[storage] < 5_000 * 64


def test_the_same_graph_comes_of_one_thread() -> None:
    codes = quantised(VECTORS[:2_000])
    one, other = Graph(DIMENSIONS, threads=1), Graph(DIMENSIONS, threads=1)
    for graph in (one, other):
        graph.append(codes)
    found = zip(one.nearest(codes[:50], 20), other.nearest(codes[:50], 20), strict=True)
    assert all(rows.tolist() == again.tolist() for rows, again in found)


def test_thousands_of_copies_hide_nothing(tmp_path: Path) -> None:
    codes = quantised(VECTORS[:6_000])
    copies = np.sort(np.random.default_rng(0).permutation(6_000)[:2_500])
    codes[copies] = codes[copies[0]]
    graph = Graph(DIMENSIONS, threads=1)
    graph.append(codes[:4_000])
    with (tmp_path / "copies").open("wb") as file:
        graph.save(tmp_path / "graph", file)
    graph = Graph(DIMENSIONS, threads=1)
    graph.load(tmp_path / "graph", Copies.load(tmp_path / "copies"))
    graph.append(codes[4_000:])
    assert len(graph) == 6_000
    [rows] = graph.nearest(codes[copies[-1:]], 5)
    assert set(copies.tolist()) <= set(rows.tolist())
    others = np.setdiff1d(np.arange(6_000), copies)
    asked = others[::35]
    scores = cosines(codes[asked].astype(np.float32), codes[others].astype(np.float32))
    true = others[np.argsort(-scores, axis=1)[:, :10]]
    found = graph.nearest(codes[asked], 64)
    assert np.mean([len(set(rows) & set(best)) / 10 for rows, best in zip(found, true, strict=True)]) >= 0.99
