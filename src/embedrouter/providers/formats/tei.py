"""text-embeddings-inference's own /embed.

Options: `extras`: "input_type", where the served model has prompts: the input type is then the prompt's name.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from embedrouter.providers.formats.answers import Reply, from_rows, read, tokens
from embedrouter.providers.formats.requests import bearer, post
from embedrouter.providers.wire import Failure, Target, WireAnswer, WireCall, WireRequest

_CODES: Final[Mapping[str, Failure]] = {"overloaded": "overloaded", "backend": "server"}
_DECODER: Final = msgspec.json.Decoder(list[list[float]])


class TeiFormat:
    """`POST {base_url}/embed`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        extras = target.options.get("extras", "")
        fields = {
            "inputs": list(call.texts),
            "truncate": call.truncate,
            "dimensions": call.dimensions,
            "prompt_name": call.input_type if extras == "input_type" else None,
        }
        return post(f"{target.base_url}/embed", fields, bearer(target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        rows = read(_DECODER, Reply(status, headers, body), target, call, _CODES)
        counted = headers.get("x-compute-tokens", "")
        known = counted.isascii() and counted.isdigit() and len(counted) < 10
        return WireAnswer(from_rows(rows, target, call), tokens(int(counted), call) if known else None)
