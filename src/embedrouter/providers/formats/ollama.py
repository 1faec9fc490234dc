"""Ollama's own /api/embed."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from embedrouter.providers.formats.answers import Body, Reply, from_rows, model_name, read, tokens
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import Target, WireAnswer, WireCall, WireRequest


class Embedded(Body, kw_only=True):
    """The whole answer."""

    embeddings: list[list[float]]
    model: Any = None
    prompt_eval_count: Any = None


_DECODER: Final = msgspec.json.Decoder(Embedded)


class OllamaFormat:
    """`POST {base_url}/api/embed`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        fields = {
            "model": target.model,
            "input": list(call.texts),
            "truncate": call.truncate,
            "dimensions": call.dimensions,
        }
        return post(f"{target.base_url}/api/embed", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        answer = read(_DECODER, Reply(status, headers, body), target, call)
        vectors = from_rows(answer.embeddings, target, call)
        return WireAnswer(vectors, tokens(answer.prompt_eval_count, call), model_name(answer.model))
