"""Asking an endpoint once, to see whether it is what it is said to be."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, Protocol

from embedrouter.catalog.models import Endpoint
from embedrouter.providers.wire import UpstreamError, WireAnswer, WireCall

_TEXT: Final = "The quick brown fox jumps over the lazy dog."


class Probe(NamedTuple):
    """Whom to ask. Its repr shows no credential."""

    endpoint: Endpoint
    secret: str | None

    def __repr__(self) -> str:
        return f"Probe({self.endpoint.tag})"


Prober = Callable[[Probe], Awaitable[WireAnswer | UpstreamError]]
"""Really asks. What it gives is one finite vector of the endpoint's size, or why there is none."""


class Embedder(Protocol):
    """What asks providers by HTTP."""

    async def embed(
        self,
        endpoint: Endpoint,
        secret: str | None,
        call: WireCall,
        *,
        timeout: float,  # noqa: ASYNC109 (seconds)
        headers: Mapping[str, str],
    ) -> WireAnswer:
        """Raises UpstreamError."""
        ...


def prober(remote: Embedder, timeout: float) -> Prober:
    """timeout: seconds."""

    async def probe(asked: Probe) -> WireAnswer | UpstreamError:
        try:
            return await remote.embed(asked.endpoint, asked.secret, WireCall([_TEXT]), timeout=timeout, headers={})
        except UpstreamError as error:
            return error

    return probe


async def no_probe(_: Probe) -> WireAnswer | UpstreamError:
    """Where no provider can be reached."""
    return UpstreamError("refused", "this server reaches no providers")
