"""Jina: OpenAI's answer; tasks, truncation and the type of vectors by names of its own.

Options: `encoding`: float (the default) or base64.
"""

from collections.abc import Mapping
from typing import Final

from embedrouter.providers.formats.answers import Reply
from embedrouter.providers.formats.input_types import provider_word
from embedrouter.providers.formats.listed import parse
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import InputType, Target, WireAnswer, WireCall, WireRequest

_TASKS: Final[Mapping[InputType, str]] = {
    "query": "retrieval.query",
    "document": "retrieval.passage",
    "classification": "classification",
    "clustering": "separation",
    "similarity": "text-matching",
}


class JinaFormat:
    """`POST {base_url}/embeddings`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        fields = {
            "model": target.model,
            "input": list(call.texts),
            "task": provider_word(call.input_type, _TASKS, free=True),  # each model has tasks of its own
            "dimensions": call.dimensions,
            "embedding_type": target.options.get("encoding", "float"),
            "truncate": call.truncate,
        }
        return post(f"{target.base_url}/embeddings", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        return parse(Reply(status, headers, body), target, call)
