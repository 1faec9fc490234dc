"""What the page shows of vectors where no script does it. Pure."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.web.playground.asking import Asked, Embedded

Vectors = NDArray[np.float32]

WIDEST: Final = 20  # lines of a similarity table
_SHOWN: Final = 4  # numbers of a vector that the raw answer shows


class Cell(NamedTuple):
    """Of the similarity table. shade: 0 to 9, how dark."""

    score: float
    shade: int


class Ranked(NamedTuple):
    """A line by its nearness to something. number: from 1."""

    number: int
    text: str
    score: float


class Line(NamedTuple):
    """A line, its tokens if they can be counted here, and the line nearest to it."""

    number: int
    text: str
    tokens: int | None
    nearest: Ranked | None


class Shown(NamedTuple):
    """The result, as the template wants it."""

    table: list[list[Cell]]  # of the first lines
    ranking: list[Ranked]  # empty without a query
    lines: list[Line]
    request: str  # as curl
    answer: str  # JSON, shortened


def shown(embedded: Embedded, tokens: Sequence[int] | None, address: str) -> Shown:
    """tokens: of each line, or None if nobody here can count them."""
    asked, result = embedded.asked, embedded.result
    vectors = unit(result.vectors)
    texts, count = asked.lines, len(asked.lines)
    lines, scores = vectors[:count], vectors[:count] @ vectors[:count].T
    counted: Sequence[int | None] = [None] * count if tokens is None else tokens
    return Shown(
        [[_cell(float(one)) for one in row[:WIDEST]] for row in scores[:WIDEST]],
        ranking(texts, lines @ vectors[count]) if asked.query else [],
        [Line(i + 1, texts[i], counted[i], _nearest(texts, scores[i], i)) for i in range(count)],
        curl(asked, address),
        _answer(embedded),
    )


def unit(vectors: Vectors) -> Vectors:
    """Rows of length 1, as not every model gives them."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = vectors / np.maximum(norms, 1e-12)
    return found


def ranking(texts: Sequence[str], scores: NDArray[np.float32]) -> list[Ranked]:
    """The nearest first, of equals the first."""
    order = np.argsort(-scores, kind="stable")
    return [Ranked(int(i) + 1, texts[i], float(scores[i])) for i in order]


def shade(score: float) -> int:
    """0 at 0 and below, 9 at 1."""
    return max(0, min(9, int(score * 10)))


def _cell(score: float) -> Cell:
    return Cell(round(score, 2) + 0.0, shade(score))  # no -0.00


def curl(asked: Asked, address: str) -> str:
    """The same request for a shell."""
    body = json.dumps({"model": asked.model, "input": asked.inputs}, ensure_ascii=False, indent=1)
    quoted = body.replace("'", "'\\''")
    return (
        f"curl {address}/api/v1/embeddings \\\n"
        '  -H "Authorization: Bearer $EMBEDROUTER_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{quoted}'"
    )


def _nearest(texts: Sequence[str], scores: NDArray[np.float32], me: int) -> Ranked | None:
    if len(texts) < 2:
        return None
    others = scores.copy()
    others[me] = -np.inf
    best = int(np.argmax(others))
    return Ranked(best + 1, texts[best], float(scores[best]))


def _answer(embedded: Embedded) -> str:
    result = embedded.result
    first = ", ".join(f"{one:.8g}" for one in result.vectors[0][:_SHOWN].tolist())
    more = len(result.vectors) - 1
    return (
        '{\n "object": "list",\n "data": [\n'
        f'  {{"object": "embedding", "index": 0, "embedding": [{first}, … {result.vectors.shape[1]} numbers]}}'
        + (f",\n  … {more} more" if more else "")
        + f'\n ],\n "model": {json.dumps(result.model.slug)},\n "id": "{embedded.generation_id}",\n'
        f' "provider": {json.dumps(result.endpoint.provider.name)},\n'
        f' "usage": {{"prompt_tokens": {result.prompt_tokens}, "total_tokens": {result.prompt_tokens}}}\n}}'
    )
