"""The answer of POST /embeddings as bytes, made from the one float32 array.

Floats are written as the shortest decimals that read back to the same float32; base64 is the little-endian float32
buffer of a row. Large answers are made in pieces, so that the thread that makes them lets others run in between.
"""

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.money import usd
from embedrouter.routing.metadata import router_metadata
from embedrouter.work import EmbedResult, Source

_PIECE: Final = 64  # rows encoded at once

SMALL: Final = 32  # rows; an answer up to this is made on the event loop


class Encoded(NamedTuple):
    """An answer's bytes."""

    body: bytes
    data: int  # of its beginning, up to the tail


class Asked(NamedTuple):
    """How the client wants its answer."""

    as_base64: bool = False
    metadata: str | None = None  # the model's name as it was asked for, where the router's metadata are wanted


def embeddings_json(result: EmbedResult, generation_id: str, asked: Asked) -> Encoded:
    """The JSON body: object, data in input order, model, id, provider, usage, and openrouter_metadata if asked for."""
    vectors = np.ascontiguousarray(result.vectors, dtype="<f4")
    pieces = [
        _rows(vectors[start : start + _PIECE], start, as_base64=asked.as_base64)
        for start in range(0, len(vectors), _PIECE)
    ]
    tail = _tail(
        result.model,
        result.endpoint,
        generation_id,
        result.prompt_tokens,
        result.cost_pico_usd,
        result.upstream_pico_usd if result.byok else None,
        {} if asked.metadata is None else {"openrouter_metadata": _metadata(asked.metadata, result)},
    )
    body = b'{"object":"list","data":[' + b",".join(pieces) + b"]," + tail
    return Encoded(body, len(body) - len(tail))


def again_json(encoded: Encoded, source: Source, generation_id: str) -> bytes:
    """The JSON body of an answer that is given again: the same data, and nothing to pay."""
    tail = _tail(source.model, source.endpoint, generation_id, 0, 0, None, {})
    return b"".join((memoryview(encoded.body)[: encoded.data], tail))


def _metadata(requested: str, result: EmbedResult) -> object:
    return msgspec.to_builtins(router_metadata(requested, result.model, result.plan, result.attempts))


def _tail(
    model: Model,
    endpoint: Endpoint,
    generation_id: str,
    tokens: int,
    cost_pico: int,
    byok_pico: int | None,
    more: Mapping[str, object],
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
            },
            **more,
        }
    )[1:]


def _rows(vectors: NDArray[np.float32], start: int, *, as_base64: bool) -> bytes:
    rows = [
        {
            "object": "embedding",
            "index": start + offset,
            "embedding": base64.b64encode(row.data).decode("ascii") if as_base64 else row,
        }
        for offset, row in enumerate(vectors)
    ]
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
