"""Mistral: OpenAI's format, but for the name of the dimensions. Options: `encoding`: float (the default) or base64."""

from collections.abc import Mapping

from embedrouter.providers.formats.answers import Reply
from embedrouter.providers.formats.listed import parse
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import Target, WireAnswer, WireCall, WireRequest


class MistralFormat:
    """`POST {base_url}/embeddings`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        fields = {
            "model": target.model,
            "input": list(call.texts),
            "encoding_format": target.options.get("encoding", "float"),
            "output_dimension": call.dimensions,
        }
        return post(f"{target.base_url}/embeddings", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        return parse(Reply(status, headers, body), target, call)
