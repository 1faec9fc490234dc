"""Semantic search: which items of a corpus are nearest to each query. Exact, in memory that does not grow with it."""

import msgspec

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.best import BLOCK, TOGETHER, Best, top
from embedrouter.tasks.rows import unit_rows
from embedrouter.tasks.vectors import Encoder, Items

__all__ = ["Match", "semantic_search", "top"]


class Match(msgspec.Struct, frozen=True):
    """One item of the corpus that was found."""

    index: int
    score: float  # cosine


def semantic_search(
    queries: Items, corpus: Items, *, top_k: int = 10, encoder: Encoder | None = None
) -> list[list[Match]]:
    """For each query its `top_k` nearest items, best first; ties: the lower index.

    The corpus is embedded or read a block at a time, so it may be larger than memory: a memory-mapped array.
    Raises InvalidRequestError, and what the encoder raises.
    """
    asked, offered = unit_rows(queries, encoder, "query"), unit_rows(corpus, encoder)
    check_top_k(top_k)
    if len(asked) and len(offered) and asked.dimensions != offered.dimensions:
        raise InvalidRequestError(f"queries have {asked.dimensions} dimensions, and the corpus {offered.dimensions}")
    best = Best(len(asked), min(top_k, len(offered)))
    if len(asked):
        asked = asked.held()
        for numbers, block in offered.blocks(BLOCK):
            for some, vectors in asked.blocks(TOGETHER):
                best.offer(vectors, some, block, numbers)
    return [
        [Match(index, score) for index, score in zip(rows.tolist(), scores.tolist(), strict=True)]
        for rows, scores in zip(best.rows, best.scores, strict=True)
    ]


def check_top_k(top_k: int) -> None:
    """Raises InvalidRequestError unless at least one result is wanted."""
    if top_k < 1:
        raise InvalidRequestError(f"top_k has to be at least 1, not {top_k}")
