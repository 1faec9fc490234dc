"""Nomic's /embedding/text."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from embedrouter.providers.formats.answers import Body, Reply, field, from_rows, model_name, read, tokens
from embedrouter.providers.formats.input_types import provider_word
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import InputType, Target, WireAnswer, WireCall, WireRequest

_TASKS: Final[Mapping[InputType, str]] = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
}


class Embedded(Body, kw_only=True):
    """The whole answer."""

    embeddings: list[list[float]]
    model: Any = None
    usage: Any = None


_DECODER: Final = msgspec.json.Decoder(Embedded)


class NomicFormat:
    """`POST {base_url}/embedding/text`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        fields = {
            "model": target.model,
            "texts": list(call.texts),
            "task_type": provider_word(call.input_type, _TASKS),
            "dimensionality": call.dimensions,
            "long_text_mode": "truncate" if call.truncate else None,  # it has no word for refusing
        }
        return post(f"{target.base_url}/embedding/text", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        answer = read(_DECODER, Reply(status, headers, body), target, call)
        vectors = from_rows(answer.embeddings, target, call)
        counted = tokens(field(answer.usage, "prompt_tokens"), call)
        return WireAnswer(vectors, counted, model_name(answer.model))
