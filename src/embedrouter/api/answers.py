"""The answer of POST /embeddings as bytes, made from the one float32 array; the end that all answers share.

Floats are written as the shortest decimals that read back to the same float32; base64 is the little-endian float32
buffer of a row. Large answers are made in pieces, so that the thread that makes them lets others run in between.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.errors import EmbedRouterError
from embedrouter.money import usd
from embedrouter.response_cache import Encoded
from embedrouter.routing.filters import visible
from embedrouter.routing.metadata import RouterMetadata, router_metadata
from embedrouter.work import EmbedResult, Source, Trail

_PIECE: Final = 64  # rows encoded at once

_NOT_OF_ROUTING: Final = frozenset({"server", "authentication", "invalid_request"})

SMALL: Final = 32  # rows; an answer up to this is made on the event loop


class Asked(NamedTuple):
    """How the client wants its answer."""

    as_base64: bool = False
    metadata: str | None = None  # the model's name as it was asked for, where the router's metadata are wanted


def embeddings_json(result: EmbedResult, generation_id: str, asked: Asked) -> Encoded:
    """The JSON body: object, data in input order, model, id, provider, usage, and openrouter_metadata if asked for."""
    vectors = np.ascontiguousarray(result.vectors, dtype="<f4")
    pieces = [
        rows_json(vectors[start : start + _PIECE], start, as_base64=asked.as_base64)
        for start in range(0, len(vectors), _PIECE)
    ]
    return ended([b'{"object":"list","data":[' + b",".join(pieces) + b"],"], result, generation_id, asked.metadata)


def ended(
    pieces: Iterable[bytes], result: EmbedResult, generation_id: str, metadata: str | None, units: int | None = None
) -> Encoded:
    """A JSON body from its beginning, up to the comma before model, id, provider and usage, which all answers have.

    metadata: as in `Asked`. units: search units, where the answer says them.
    """
    tail = _tail(
        result.model,
        result.endpoint,
        generation_id,
        result.prompt_tokens,
        result.cost_pico_usd,
        result.upstream_pico_usd if result.byok else None,
        {} if metadata is None else _metadata_json(metadata, result),
        units,
    )
    body = b"".join((*pieces, tail))
    return Encoded(body, len(body) - len(tail))


def again_json(encoded: Encoded, source: Source, generation_id: str) -> bytes:
    """The JSON body of an answer that is given again: the same data, and nothing to pay."""
    units = 0 if source.api_type == "rerank" else None
    tail = _tail(source.model, source.endpoint, generation_id, 0, 0, None, {}, units)
    return b"".join((memoryview(encoded.body)[: encoded.data], tail))


def _metadata_json(requested: str, result: EmbedResult) -> dict[str, object]:
    """What an answer has beside the payload."""
    return _beside(router_metadata(requested, result.model, result.plan, result.attempts))


def refused_json(trail: Trail, error: EmbedRouterError, workspace_id: str) -> dict[str, object]:
    """The same for an error; nothing where it says nothing of routing: our own, or of a request that is not valid."""
    model, work = trail.model, trail.work
    if trail.requested is None or model is None or error.error_type in _NOT_OF_ROUTING:
        return {}
    if work is not None:
        return _beside(router_metadata(trail.requested, model, work.plan, work.attempts or ()))
    return _beside(router_metadata(trail.requested, model, None, (), total=len(visible(model, workspace_id))))


def _beside(metadata: RouterMetadata) -> dict[str, object]:
    return {"openrouter_metadata": msgspec.to_builtins(metadata)}


def _tail(
    model: Model,
    endpoint: Endpoint,
    generation_id: str,
    tokens: int,
    cost_pico: int,
    byok_pico: int | None,
    more: Mapping[str, object],
    units: int | None,
) -> bytes:
    """What follows the vectors. byok_pico: the list price of what somebody's own credential paid for, if any."""
    cost = usd(cost_pico)
    upstream = None if byok_pico is None else usd(byok_pico)
    return orjson.dumps(
        {
            "model": model.slug,
            "id": generation_id,
            "provider": endpoint.provider.name,
            "usage": {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "cost": cost,
                "is_byok": byok_pico is not None,
                "cost_details": {
                    "upstream_inference_cost": upstream,
                    "upstream_inference_prompt_cost": cost if upstream is None else upstream,
                    "upstream_inference_completions_cost": 0,
                },
                **({} if units is None else {"search_units": units}),
            },
            **more,
        }
    )[1:]


def rows_json(vectors: NDArray[np.float32], start: int, *, as_base64: bool) -> bytes:
    """The objects of `data` from index `start` on, with commas between and nothing around. vectors: little-endian."""
    rows = [
        {
            "object": "embedding",
            "index": start + offset,
            "embedding": base64.b64encode(row.data).decode("ascii") if as_base64 else row,
        }
        for offset, row in enumerate(vectors)
    ]
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
