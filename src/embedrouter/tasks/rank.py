"""Ranking: which of these documents answer the query best."""

from collections.abc import Sequence

import msgspec

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.search import semantic_search
from embedrouter.tasks.vectors import Encoder


class Ranked(msgspec.Struct, frozen=True):
    """One document in its place."""

    index: int  # where it stood in what was given
    score: float  # cosine with the query
    text: str


def rank(
    query: str, documents: Sequence[str], *, top_k: int | None = None, encoder: Encoder | None = None
) -> list[Ranked]:
    """The documents, best first; ties in the order they came. top_k: only so many.

    Raises InvalidRequestError, and what the encoder raises.
    """
    if isinstance(documents, str):
        raise InvalidRequestError("one text was given where a list of documents is expected; put it into a list")
    wanted = max(1, len(documents)) if top_k is None else top_k
    [found] = semantic_search([query], documents, top_k=wanted, encoder=encoder)
    return [Ranked(match.index, match.score, documents[match.index]) for match in found]
