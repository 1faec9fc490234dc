"""Finding the nearest rows of an index: by comparing all that may be found, or by the graph."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedrouter.tasks.best import BLOCK, TOGETHER, Best
from embedrouter.tasks.content import Content
from embedrouter.tasks.hnsw import Graph, search_width
from embedrouter.tasks.rows import ArrayRows, Numbers, UnitRows
from embedrouter.tasks.storage import VectorStore, quantised
from embedrouter.tasks.vectors import Vectors

_FEW: Final = 20_000  # allowed rows that are compared as fast as a graph finds some of them
_RARE: Final = 30  # one allowed row in so many: then the graph would mostly find others
_WIDEST: Final = 16_384  # candidates, the most that a graph is asked for


def find(content: Content, queries: UnitRows, allowed: NDArray[np.bool_] | None, top_k: int) -> Best:
    """The `top_k` nearest rows of each query that are alive and allowed. allowed: (rows,); None: all.

    The graph's candidates are scored with the vectors as they are stored; where too few of them are allowed, all
    allowed rows are compared.
    """
    mask = content.ids.alive if allowed is None else content.ids.alive & allowed
    count = int(np.count_nonzero(mask))
    best = Best(len(queries), min(top_k, count))
    graph = content.graph
    if graph is None or len(graph) != len(content) or count <= max(_FEW, len(content) // _RARE):
        compare(content.vectors, queries, np.flatnonzero(mask), best)
        return best
    width = int(max(search_width(len(content)), 4 * top_k) * len(content) / count)
    allowed_rows: Numbers | None = None
    for numbers, vectors in queries.blocks(TOGETHER):
        left, wider = np.arange(len(vectors)), width
        while left.size and wider <= _WIDEST:
            left = left[~_by_graph(graph, content.vectors, vectors[left], numbers[left], mask, wider, best)]
            wider *= 4
        if left.size:
            allowed_rows = np.flatnonzero(mask) if allowed_rows is None else allowed_rows
            compare(content.vectors, ArrayRows(vectors[left], "query"), allowed_rows, best, numbers[left])
    return best


def compare(vectors: VectorStore, queries: UnitRows, rows: Numbers, best: Best, numbers: Numbers | None = None) -> None:
    """Offer these rows, ascending, to `best`, a block at a time. numbers: of the queries, if not 0, 1, 2…"""
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        block = vectors.take(some)
        for places, asked in queries.blocks(TOGETHER):
            best.offer(asked, places if numbers is None else numbers[places], block, some)


def _by_graph(
    graph: Graph,
    vectors: VectorStore,
    queries: Vectors,
    numbers: Numbers,
    mask: NDArray[np.bool_],
    width: int,
    best: Best,
) -> NDArray[np.bool_]:
    """Ask for `width` candidates of each query, and offer those that the mask allows. Returns who has enough."""
    enough = np.zeros(len(queries), np.bool_)
    for place, found in enumerate(graph.nearest(quantised(queries), width)):
        rows = found[mask[found]]
        if len(rows) >= best.k:
            enough[place] = True
            for start in range(0, len(rows), BLOCK):
                some = rows[start : start + BLOCK]
                best.offer(queries[place : place + 1], numbers[place : place + 1], vectors.take(some), some)
    return enough
