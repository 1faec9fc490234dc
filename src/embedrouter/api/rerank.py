"""POST /rerank: documents in the order of their cosine with a query."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import numpy as np
import orjson
from msgspec import Meta

from embedrouter.api.answers import SMALL, ended
from embedrouter.api.distinct import Distinct
from embedrouter.api.vectors import Question, route_of
from embedrouter.api.visit import Visit
from embedrouter.errors import InvalidRequestError
from embedrouter.fields import decode
from embedrouter.requests.embedding import NO_PREFERENCES, rule_of
from embedrouter.requests.schemas import MAX_ITEMS, ModelRequest
from embedrouter.response_cache import Encoded
from embedrouter.tasks.cosines import cosines, directions
from embedrouter.work import EmbedRequest, EmbedResult

MAX_DOCUMENTS: Final = MAX_ITEMS - 1  # with the query they are one request
_A_UNIT: Final = 100  # documents: a search unit, as Cohere counts; nothing is billed by it


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document as an object; this server ranks text."""

    text: str | None = None
    image: str | None = None


Documents = Annotated[list[str | Document], Meta(extra_json_schema={"minItems": 1, "maxItems": MAX_DOCUMENTS})]


class RerankRequest(ModelRequest, frozen=True, kw_only=True):
    """The body of POST /rerank."""

    query: str
    documents: Documents
    top_n: Annotated[int, Meta(ge=1)] | None = None


_DECODER: Final = msgspec.json.Decoder(RerankRequest)


class _Rerank:
    api_type: Final = "rerank"

    def decode(self, body: bytes) -> RerankRequest:
        return decode(body, _DECODER)

    async def question(self, visit: Visit, wanted: RerankRequest) -> Question:
        texts = _texts(wanted.documents)
        distinct = Distinct()
        query = distinct.add(wanted.query, "query")
        rows = [distinct.add(text, "documents", index) for index, text in enumerate(texts)]
        request = EmbedRequest(
            model=wanted.model,
            inputs=distinct.texts,
            rule=rule_of(wanted.truncate),
            dimensions=None,
            preferences=wanted.provider or NO_PREFERENCES,
            parameters=frozenset(),
            prompt=orjson.dumps([wanted.query, *texts]).decode() if visit.context.settings.store_prompts else None,
            api_type=self.api_type,
        )

        def encode(result: EmbedResult, generation_id: str, metadata: str | None) -> Encoded:
            best = _ranked(result, query, rows)[: wanted.top_n]
            results = [
                {"index": index, "relevance_score": score, "document": {"text": texts[index]}} for index, score in best
            ]
            start = b'{"results":' + orjson.dumps(results, option=orjson.OPT_SERIALIZE_NUMPY) + b","
            return ended([start], result, generation_id, metadata, -(-len(texts) // _A_UNIT))

        return Question(request, encode, large=len(texts) > SMALL, places=distinct.places)


def _texts(documents: Sequence[str | Document]) -> list[str]:
    """Raises InvalidRequestError."""
    if not 1 <= len(documents) <= MAX_DOCUMENTS:
        raise InvalidRequestError(
            f"documents has {len(documents):,} items; send 1 to {MAX_DOCUMENTS:,} in a request",
            metadata={"field": "documents", "items": len(documents), "limit": MAX_DOCUMENTS},
        )
    return [one if isinstance(one, str) else _text(one, index) for index, one in enumerate(documents)]


def _text(document: Document, index: int) -> str:
    metadata = {"field": "documents", "index": index}
    if document.image is not None:
        raise InvalidRequestError(
            f"documents[{index}] has an image; this model ranks text only", metadata={**metadata, "modality": "image"}
        )
    if document.text is None:
        raise InvalidRequestError(f"documents[{index}] has no text", metadata=metadata)
    return document.text


def _ranked(result: EmbedResult, query: int, rows: Sequence[int]) -> list[tuple[int, np.float32]]:
    """Indices of documents with their scores, best first; of the same score the lower index first."""
    found = directions(result.vectors)
    scores = cosines(found, found[query : query + 1])[np.array(rows), 0]
    return [(int(index), scores[index]) for index in np.argsort(-scores, kind="stable")]


RERANK: Final = route_of(_Rerank())
