"""Azure OpenAI: OpenAI's body, the deployment in the path, the key in a header of its own.

Options: `api_version`; `encoding` as for OpenAI. The model is the deployment's name.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from embedrouter.providers.formats.answers import Reply
from embedrouter.providers.formats.listed import parse
from embedrouter.providers.formats.openai import fields
from embedrouter.providers.formats.requests import key_header, post, segment
from embedrouter.providers.wire import Failure, Target, WireAnswer, WireCall, WireRequest

_VERSION: Final = "2024-10-21"
_CODES: Final[Mapping[str, Failure]] = {"deploymentnotfound": "not_found"}


class AzureFormat:
    """`POST {base_url}/openai/deployments/{model}/embeddings`."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError."""
        version = quote(target.options.get("api_version", _VERSION), safe="")
        path = f"/openai/deployments/{segment(target.model)}/embeddings?api-version={version}"
        return post(target.base_url + path, fields(target, call), key_header("api-key", target))

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError."""
        return parse(Reply(status, headers, body), target, call, _CODES)
