"""Cloudflare Workers AI. Options: `pooling`: cls or mean, for the models that have both."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from embedrouter.providers.formats.answers import Body, Reply, field, from_rows, read, tokens
from embedrouter.providers.formats.requests import bearer, post, segment
from embedrouter.providers.wire import Failure, Target, WireAnswer, WireCall, WireRequest

_CODES: Final[Mapping[str, Failure]] = {
    "10000": "unauthorized",
    "9109": "unauthorized",
    "5007": "not_found",
    "7003": "not_found",
    "3040": "overloaded",
    "3036": "payment",  # the day's free allowance is used up
    "4006": "payment",
}


class Result(msgspec.Struct):
    """The model's own answer."""

    data: list[list[float]]
    usage: Any = None


class Ran(Body, kw_only=True):
    """The whole answer."""

    result: Result


_DECODER: Final = msgspec.json.Decoder(Ran)


class CloudflareFormat:
    """`POST {base_url}/ai/run/{model}`; base_url ends with the account."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        path = "/".join(segment(part, keep="@") for part in target.model.split("/"))
        fields = {"text": list(call.texts), "pooling": target.options.get("pooling")}
        return post(f"{target.base_url}/ai/run/{path}", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        result = read(_DECODER, Reply(status, headers, body), target, call, _CODES).result
        return WireAnswer(from_rows(result.data, target, call), tokens(field(result.usage, "prompt_tokens"), call))
