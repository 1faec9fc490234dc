"""POST /similarity: cosines of pairs of texts, of two lists, or of a list with itself."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import numpy as np
import orjson
from msgspec import Meta
from numpy.typing import NDArray

from embedrouter.api.answers import ended
from embedrouter.api.distinct import Distinct
from embedrouter.api.vectors import Question, route_of
from embedrouter.api.visit import Visit
from embedrouter.errors import InvalidRequestError
from embedrouter.fields import bad_field, decode
from embedrouter.requests.embedding import NO_PREFERENCES, rule_of
from embedrouter.requests.schemas import ModelRequest
from embedrouter.response_cache import Encoded
from embedrouter.tasks.cosines import Cosines, Directions, crossed, directions, paired
from embedrouter.work import EmbedRequest, EmbedResult

MOST_SCORES: Final = 1 << 20
_LARGE: Final = 4_096  # scores; an answer up to this is made on the event loop
_MANY: Final = 4_096  # texts or pairs; more are looked at in a thread
_PIECE: Final = 1 << 16  # scores encoded at once

Rows = NDArray[np.int64]  # of the distinct texts' vectors
Texts = Annotated[list[str], Meta(min_length=1)]
Pair = Annotated[list[str], Meta(min_length=2, max_length=2)]


class SimilarityRequest(ModelRequest, frozen=True, kw_only=True):
    """The body of POST /similarity: `pairs`, or `left` and `right`, or `texts`."""

    pairs: Annotated[list[Pair], Meta(min_length=1)] | None = None
    left: Texts | None = None
    right: Texts | None = None
    texts: Texts | None = None
    encoding_format: Literal["float"] | None = None


class _Asked(NamedTuple):
    """One of the three forms."""

    name: str  # of the answer's field
    size: int  # scores
    of: Callable[[Directions], Cosines]  # the scores, of the vectors of the distinct texts


_DECODER: Final = msgspec.json.Decoder(SimilarityRequest)


class _Similarity:
    api_type: Final = "similarity"

    def decode(self, body: bytes) -> SimilarityRequest:
        return decode(body, _DECODER)

    async def question(self, visit: Visit, wanted: SimilarityRequest) -> Question:
        distinct = Distinct()
        if (
            max(len(one) for one in (wanted.pairs, wanted.left, wanted.right, wanted.texts, ()) if one is not None)
            > _MANY
        ):
            asked = await asyncio.to_thread(_asked, wanted, distinct)
        else:
            asked = _asked(wanted, distinct)
        request = EmbedRequest(
            model=wanted.model,
            inputs=distinct.texts,
            rule=rule_of(wanted.truncate),
            dimensions=None,
            preferences=wanted.provider or NO_PREFERENCES,
            parameters=frozenset(),
            prompt=orjson.dumps(distinct.texts).decode() if visit.context.settings.store_prompts else None,
            api_type=self.api_type,
        )

        def encode(result: EmbedResult, generation_id: str, metadata: str | None) -> Encoded:
            scores = asked.of(directions(result.vectors))
            start = f'{{"object":"list","{asked.name}":['.encode()
            return ended([start, b",".join(_pieces(scores)), b"],"], result, generation_id, metadata)

        return Question(request, encode, large=asked.size > _LARGE, places=distinct.places)


def _asked(wanted: SimilarityRequest, distinct: Distinct) -> _Asked:
    """Raises InvalidRequestError unless it is exactly one form."""
    sides = wanted.left is not None or wanted.right is not None
    forms = (("pairs", wanted.pairs is not None), ("texts", wanted.texts is not None), ("left or right", sides))
    given = [name for name, is_given in forms if is_given]
    if len(given) != 1:
        raise InvalidRequestError(
            f"send exactly one of pairs, texts, or left and right; this request has {', '.join(given) or 'none'}",
            metadata={"field": "pairs"},
        )
    if wanted.pairs is not None:
        return _of_pairs(wanted.pairs, distinct)
    if wanted.texts is not None:
        _bounded(len(wanted.texts), len(wanted.texts))
        rows = _rows("texts", wanted.texts, distinct)
        return _matrix(rows, rows)
    if wanted.left is None or wanted.right is None:
        field = "left" if wanted.left is None else "right"
        raise bad_field(field, "is required beside the other side; for one list against itself send texts")
    _bounded(len(wanted.left), len(wanted.right))
    left = _rows("left", wanted.left, distinct)
    return _matrix(left, _rows("right", wanted.right, distinct))


def _of_pairs(pairs: Sequence[Sequence[str]], distinct: Distinct) -> _Asked:
    _bounded(len(pairs), 1)
    rows = np.array(
        [
            [distinct.add(text, "pairs", index, side) for side, text in enumerate(pair)]
            for index, pair in enumerate(pairs)
        ]
    )
    return _Asked("scores", len(rows), lambda found: paired(found, rows))


def _matrix(left: Rows, right: Rows) -> _Asked:
    return _Asked("matrix", len(left) * len(right), lambda found: crossed(found, left, right))


def _rows(field: str, texts: Sequence[str], distinct: Distinct) -> Rows:
    return np.array([distinct.add(text, field, index) for index, text in enumerate(texts)])


def _bounded(rows: int, columns: int) -> None:
    if rows * columns > MOST_SCORES:
        raise InvalidRequestError(
            f"{rows:,} x {columns:,} are {rows * columns:,} scores, the limit is {MOST_SCORES:,} in a request; "
            f"send fewer texts at a time",
            metadata={"scores": rows * columns, "limit": MOST_SCORES},
        )


def _pieces(scores: Cosines) -> list[bytes]:
    """The JSON of an array without its brackets, some rows at a time: others run in between."""
    step = max(1, _PIECE * len(scores) // scores.size)
    parts = (np.ascontiguousarray(scores[start : start + step]) for start in range(0, len(scores), step))
    return [orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for part in parts]


SIMILARITY: Final = route_of(_Similarity())
