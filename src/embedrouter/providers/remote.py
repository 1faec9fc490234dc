"""Any provider that is reached by HTTP: a format asks, the transport sends, and the answer is checked."""

from collections.abc import Mapping

import numpy as np

from embedrouter.catalog.models import Endpoint
from embedrouter.providers.transport import Transport
from embedrouter.providers.wire import Format, Target, UpstreamError, WireAnswer, WireCall


class Remote:
    """All providers but the built-in one."""

    def __init__(self, transport: Transport, formats: Mapping[str, Format]) -> None:
        """formats: by the names that providers give as their `wire`."""
        self._transport = transport
        self._formats = formats

    async def embed(
        self,
        endpoint: Endpoint,
        secret: str | None,
        call: WireCall,
        *,
        timeout: float,  # noqa: ASYNC109 (the transport's own)
        headers: Mapping[str, str],
    ) -> WireAnswer:
        """One call, one answer: exactly one finite vector of the endpoint's size for each text, in order.

        timeout: seconds. headers: to send beside the format's own. Raises UpstreamError.
        """
        provider = endpoint.provider
        form = self._formats.get(provider.wire)
        if form is None or provider.base_url is None:
            raise UpstreamError("refused", f'nothing is known of how to ask "{provider.slug}"')
        target = Target(
            base_url=_filled(provider.base_url, provider.options),
            model=endpoint.upstream_model,
            credential=secret,
            options=provider.options,
            dimensions=endpoint.dimensions,
        )
        request = form.build_request(target, call)
        request = request._replace(headers={**request.headers, **headers})
        answer = await self._transport.send(request, timeout=timeout, allow_private=provider.allow_private)
        found = form.parse_response(answer.status, answer.headers, answer.body, target, call)
        _check(found, len(call.texts), endpoint.dimensions)
        return found

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()


def _filled(base_url: str, options: Mapping[str, str]) -> str:
    for name, value in options.items():
        base_url = base_url.replace(f"{{{name}}}", value)
    return base_url.rstrip("/")


def _check(answer: WireAnswer, count: int, dimensions: int) -> None:
    """Whatever a format let through: a wrong answer is a failure, never a result."""
    vectors = answer.vectors
    if vectors.shape != (count, dimensions):
        raise UpstreamError("invalid_answer", f"answered with vectors {vectors.shape}, not {(count, dimensions)}")
    if not np.isfinite(vectors).all():
        raise UpstreamError("invalid_answer", "answered with numbers that are not finite")
    if not vectors.any(axis=1).all():
        raise UpstreamError("invalid_answer", "answered with a vector of zeros")
