"""OpenAI's /embeddings, and those who took it over: OpenRouter, Together, vLLM, llama.cpp, another embedrouter, ...

Options: `encoding`: base64 (the default) or float, what is asked for; both are read. `extras`: which of `input_type`
and `truncate` the provider takes beyond OpenAI's own fields, e.g. "input_type,truncate" for another embedrouter.
"""

from collections.abc import Mapping
from typing import Any

from embedrouter.providers.formats.answers import Reply
from embedrouter.providers.formats.listed import parse
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import Target, WireAnswer, WireCall, WireRequest


class OpenAIFormat:
    """`POST {base_url}/embeddings`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        return post(f"{target.base_url}/embeddings", {"model": target.model, **fields(target, call)}, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        return parse(Reply(status, headers, body), target, call)


def fields(target: Target, call: WireCall) -> dict[str, Any]:
    """The body, but for the model."""
    extras = target.options.get("extras", "").replace(" ", "").split(",")
    return {
        "input": list(call.texts),
        "encoding_format": target.options.get("encoding", "base64"),
        "dimensions": call.dimensions,
        "user": call.user,
        "input_type": call.input_type if "input_type" in extras else None,
        "truncate": call.truncate if "truncate" in extras else None,
    }
