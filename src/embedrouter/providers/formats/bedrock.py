"""Amazon Titan Text Embeddings V2 on Bedrock, with a Bedrock API key. It takes one text a call."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from embedrouter.providers.formats.answers import Body, Reply, from_rows, read, tokens
from embedrouter.providers.formats.requests import bearer, post, segment
from embedrouter.providers.wire import Failure, Target, UpstreamError, WireAnswer, WireCall, WireRequest

_DIMENSIONS: Final = (256, 512, 1024)
_CODES: Final[Mapping[str, Failure]] = {
    "accessdeniedexception": "unauthorized",
    "unrecognizedclientexception": "unauthorized",
    "expiredtokenexception": "unauthorized",
    "throttlingexception": "rate_limited",
    "servicequotaexceededexception": "rate_limited",
    "resourcenotfoundexception": "not_found",
    "modelnotreadyexception": "overloaded",  # with HTTP 429
    "serviceunavailableexception": "overloaded",
    "modeltimeoutexception": "timeout",
    "modelerrorexception": "server",
}


class Embedded(Body, kw_only=True, rename={"counted": "inputTextTokenCount"}):
    """The whole answer."""

    embedding: list[float]
    counted: Any = None


_DECODER: Final = msgspec.json.Decoder(Embedded)


class BedrockFormat:
    """`POST {base_url}/model/{model}/invoke`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        if len(call.texts) != 1:
            raise UpstreamError("invalid_request", "input: Titan takes one text a call; set the endpoint's limit to 1")
        fields = {
            "inputText": call.texts[0],
            "dimensions": call.dimensions if call.dimensions in _DIMENSIONS else None,
            "normalize": True,
        }
        return post(f"{target.base_url}/model/{segment(target.model)}/invoke", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        answer = read(_DECODER, Reply(status, headers, body), target, call, _CODES)
        return WireAnswer(from_rows([answer.embedding], target, call), tokens(answer.counted, call))
