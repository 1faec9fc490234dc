"""The answer of POST /embeddings as bytes, made from the one float32 array.

Floats are written as the shortest decimals that read back to the same float32; base64 is the little-endian float32
buffer of a row. Large answers are made in pieces, so that the thread that makes them lets others run in between.
"""

import base64
from typing import Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.gateway import EmbedResult, Source
from embedrouter.money import usd

_PIECE: Final = 64  # rows encoded at once

SMALL: Final = 32  # rows; an answer up to this is made on the event loop


class Encoded(NamedTuple):
    """An answer's bytes."""

    body: bytes
    data: int  # of its beginning, up to the tail


def embeddings_json(result: EmbedResult, generation_id: str, *, as_base64: bool) -> Encoded:
    """The JSON body: object, data in input order, model, id, provider, usage."""
    vectors = np.ascontiguousarray(result.vectors, dtype="<f4")
    pieces = [
        _rows(vectors[start : start + _PIECE], start, as_base64=as_base64) for start in range(0, len(vectors), _PIECE)
    ]
    tail = _tail(result.model, result.endpoint, generation_id, result.prompt_tokens, result.cost_pico_usd)
    body = b'{"object":"list","data":[' + b",".join(pieces) + b"]," + tail
    return Encoded(body, len(body) - len(tail))


def again_json(encoded: Encoded, source: Source, generation_id: str) -> bytes:
    """The JSON body of an answer that is given again: the same data, and nothing to pay."""
    tail = _tail(source.model, source.endpoint, generation_id, 0, 0)
    return b"".join((memoryview(encoded.body)[: encoded.data], tail))


def _tail(model: Model, endpoint: Endpoint, generation_id: str, tokens: int, cost_pico: int) -> bytes:
    """What follows the vectors."""
    cost = usd(cost_pico)
    return orjson.dumps(
        {
            "model": model.slug,
            "id": generation_id,
            "provider": endpoint.provider.name,
            "usage": {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "cost": cost,
                "is_byok": False,
                "cost_details": {
                    "upstream_inference_cost": None,
                    "upstream_inference_prompt_cost": cost,
                    "upstream_inference_completions_cost": 0,
                },
            },
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
