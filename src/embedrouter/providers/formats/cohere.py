"""Cohere's v2 /embed."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from embedrouter.providers.formats.answers import Body, Reply, field, from_rows, read, tokens
from embedrouter.providers.formats.input_types import provider_word
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import InputType, Target, WireAnswer, WireCall, WireRequest

_TYPES: Final[Mapping[InputType, str]] = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
}
_TRUNCATE: Final = {True: "END", False: "NONE", None: None}


class Embeddings(msgspec.Struct, rename={"floats": "float"}):
    """By type of number."""

    floats: list[list[float]]


class Embedded(Body, kw_only=True):
    """The whole answer."""

    embeddings: Embeddings
    meta: Any = None


_DECODER: Final = msgspec.json.Decoder(Embedded)


class CohereFormat:
    """`POST {base_url}/embed`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        fields = {
            "model": target.model,
            "texts": list(call.texts),
            "input_type": provider_word(call.input_type or "document", _TYPES),  # it must be there
            "embedding_types": ["float"],
            "output_dimension": call.dimensions,
            "truncate": _TRUNCATE[call.truncate],
        }
        return post(f"{target.base_url}/embed", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        answer = read(_DECODER, Reply(status, headers, body), target, call)
        counted = tokens(field(answer.meta, "billed_units", "input_tokens"), call)
        return WireAnswer(from_rows(answer.embeddings.floats, target, call), counted)
