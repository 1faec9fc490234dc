"""Voyage: OpenAI's answer, a body of its own. Options: `encoding`: base64 (the default) or float."""

from collections.abc import Mapping
from typing import Final

from embedrouter.providers.formats.answers import Reply
from embedrouter.providers.formats.input_types import provider_word
from embedrouter.providers.formats.listed import parse
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import InputType, Target, WireAnswer, WireCall, WireRequest

_TYPES: Final[Mapping[InputType, str]] = {"query": "query", "document": "document"}


class VoyageFormat:
    """`POST {base_url}/embeddings`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        encoding = target.options.get("encoding", "base64")
        fields = {
            "model": target.model,
            "input": list(call.texts),
            "input_type": provider_word(call.input_type, _TYPES),
            "truncation": call.truncate,
            "output_dimension": call.dimensions,
            "encoding_format": "base64" if encoding == "base64" else None,  # it has no word for numbers
        }
        return post(f"{target.base_url}/embeddings", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        return parse(Reply(status, headers, body), target, call)
