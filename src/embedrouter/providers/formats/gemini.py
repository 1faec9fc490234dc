"""Gemini's batchEmbedContents."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from embedrouter.providers.formats.answers import Body, Reply, field, from_rows, read, tokens
from embedrouter.providers.formats.input_types import provider_word
from embedrouter.providers.formats.requests import key_header, post, segment
from embedrouter.providers.wire import Failure, InputType, Target, UpstreamError, WireAnswer, WireCall, WireRequest

_TASKS: Final[Mapping[InputType, str]] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "similarity": "SEMANTIC_SIMILARITY",
}
_OTHER_TASKS: Final = frozenset({"QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY"})
_CODES: Final[Mapping[str, Failure]] = {
    "api_key_invalid": "unauthorized",  # with HTTP 400
    "api_key_service_blocked": "unauthorized",
    "resource_exhausted": "rate_limited",
    "unavailable": "overloaded",
}


class Embedding(msgspec.Struct):
    """One vector."""

    values: list[float]


class Embedded(Body, kw_only=True, rename={"usage": "usageMetadata"}):
    """The whole answer."""

    embeddings: list[Embedding]
    usage: Any = None


_DECODER: Final = msgspec.json.Decoder(Embedded)


class GeminiFormat:
    """`POST {base_url}/models/{model}:batchEmbedContents`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        model = target.model.removeprefix("models/")
        if ":" in model:  # what follows would be a method
            raise UpstreamError("refused", "upstream_model: a model of Gemini has no colon in its name; set it right")
        common = {
            "model": f"models/{model}",
            "taskType": provider_word(call.input_type, _TASKS, others=_OTHER_TASKS),
            "outputDimensionality": call.dimensions,
        }
        common = {name: value for name, value in common.items() if value is not None}
        requests = [{**common, "content": {"parts": [{"text": text}]}} for text in call.texts]
        url = f"{target.base_url}/models/{segment(model)}:batchEmbedContents"
        return post(url, {"requests": requests}, key_header("x-goog-api-key", target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        answer = read(_DECODER, Reply(status, headers, body), target, call, _CODES)
        vectors = from_rows([one.values for one in answer.embeddings], target, call)
        return WireAnswer(vectors, tokens(field(answer.usage, "promptTokenCount"), call))
