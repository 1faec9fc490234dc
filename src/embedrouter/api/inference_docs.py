"""What /openapi.json says of the routes that ask a model, which are served without Litestar's own machinery."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from embedrouter.api.rerank import RerankRequest
from embedrouter.api.similarity import SimilarityRequest
from embedrouter.api.tokenize import TokenizeAnswer, TokenizeRequest
from embedrouter.requests.schemas import EmbeddingsRequest

ERRORS: Final = {
    "400": "A field is wrong; the message names it.",
    "401": "No key, or a wrong one.",
    "402": "The balance or the key's limit is used up.",
    "403": "The key may not do this, or a budget is used up.",
    "404": "No such model, or none that the request's own filters leave.",
    "408": "The body arrived too slowly.",
    "413": "The body is too large.",
    "429": "The key's own limits of requests, tokens or concurrency; see Retry-After.",
    "500": "Unforeseen.",
    "502": "The model failed.",
    "503": "The queue is full or the server is shutting down; see Retry-After.",
    "504": "The model took too long.",
}
_MODEL: Final = "sentence-transformers/all-minilm-l6-v2"
_REF: Final = "#/components/schemas/{name}"

Score = Annotated[float, Meta(ge=-1, le=1)]


class Usage(msgspec.Struct, frozen=True):
    """What was computed, and what it cost."""

    prompt_tokens: int
    total_tokens: int
    cost: Annotated[float, Meta(description="USD")]
    is_byok: bool = False
    cost_details: dict[str, float | None] | None = None


class RerankUsage(Usage, frozen=True):
    """The same, with search units."""

    search_units: Annotated[int, Meta(description="Of 100 documents; nothing is billed by them")] = 1


class Embedding(msgspec.Struct, frozen=True):
    """One input's vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsResponse(msgspec.Struct, frozen=True):
    """What POST /embeddings answers."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    id: str
    provider: str
    usage: Usage


class RankedDocument(msgspec.Struct, frozen=True):
    """A document as it was sent."""

    text: str


class RankedResult(msgspec.Struct, frozen=True):
    """A document with its place in the request."""

    index: int
    relevance_score: Annotated[Score, Meta(description="The cosine with the query")]
    document: RankedDocument


class RerankResponse(msgspec.Struct, frozen=True):
    """What POST /rerank answers: best first, of the same score the lower index first."""

    results: list[RankedResult]
    model: str
    id: str
    provider: str
    usage: RerankUsage


class SimilarityResponse(msgspec.Struct, frozen=True):
    """What POST /similarity answers: `scores` of pairs, else `matrix`, a row for each text on the left."""

    object: Literal["list"]
    model: str
    id: str
    provider: str
    usage: Usage
    scores: list[Score] | None = None
    matrix: list[list[Score]] | None = None


class Operation(NamedTuple):
    """One route."""

    name: str
    tag: str
    id: str
    summary: str
    description: str
    request: type[msgspec.Struct]
    response: type[msgspec.Struct]
    example: Mapping[str, Any]


_OPERATIONS: Final = (
    Operation(
        "embeddings",
        "Embeddings",
        "createEmbeddings",
        "Embed texts",
        "Vectors for one to 2,048 inputs, as floats or base64, in input order.",
        EmbeddingsRequest,
        EmbeddingsResponse,
        {"model": _MODEL, "input": ["The quick brown fox", "jumps over the lazy dog"]},
    ),
    Operation(
        "rerank",
        "Rerank",
        "createRerank",
        "Rank documents",
        "One to 2,047 documents in the order of their cosine with a query.",
        RerankRequest,
        RerankResponse,
        {
            "model": _MODEL,
            "query": "What is the capital of France?",
            "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France."],
            "top_n": 1,
        },
    ),
    Operation(
        "similarity",
        "Similarity",
        "createSimilarity",
        "Compare texts",
        "Cosines of pairs of texts, of a list with another (left, right), or of a list with itself (texts); send "
        "exactly one of the three.",
        SimilarityRequest,
        SimilarityResponse,
        {"model": _MODEL, "pairs": [["A cat sits on the mat.", "A kitten is on the rug."]]},
    ),
    Operation(
        "tokenize",
        "Tokenize",
        "createTokens",
        "Count tokens",
        "The tokens of texts as they are billed, and what they are. It is free, leaves no generation, and counts as a "
        "request of the key's rate.",
        TokenizeRequest,
        TokenizeAnswer,
        {"model": _MODEL, "input": ["Embeddings, tokenized!"]},
    ),
)
STRUCTS: Final = tuple(struct for one in _OPERATIONS for struct in (one.request, one.response))
"""What the document's schemas are made of."""


def asking(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The document's paths. problem: the content of an error."""
    return {f"/api/v1/{one.name}": {"post": _described(one, problem)} for one in _OPERATIONS}


def _described(one: Operation, problem: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tags": [one.tag],
        "summary": one.summary,
        "operationId": one.id,
        "description": one.description,
        "security": [{"key": []}],
        "requestBody": {"required": True, "content": _json(one.request, example=one.example)},
        "responses": {
            "200": {"description": "Done", "content": _json(one.response)},
            **{code: {"description": what, "content": problem} for code, what in ERRORS.items()},
        },
    }


def _json(struct: type[msgspec.Struct], **more: Any) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=struct.__name__)}, **more}}
