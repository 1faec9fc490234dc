"""The answer of POST /embeddings as bytes, made from the one float32 array.

Floats are written as the shortest decimals that read back to the same float32; base64 is the little-endian float32
buffer of a row. Large answers are made in pieces, so that the thread that makes them lets others run in between.
"""

import base64
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from embedrouter.gateway import EmbedResult
from embedrouter.money import usd

_PIECE: Final = 64  # rows encoded at once

SMALL: Final = 32  # rows; an answer up to this is made on the event loop


def embeddings_json(result: EmbedResult, generation_id: str, *, as_base64: bool) -> bytes:
    """The JSON body: object, data in input order, model, id, provider, usage."""
    cost = usd(result.cost_pico_usd)
    tail = orjson.dumps(
        {
            "model": result.model.slug,
            "id": generation_id,
            "provider": result.endpoint.provider.name,
            "usage": {
                "prompt_tokens": result.prompt_tokens,
                "total_tokens": result.prompt_tokens,
                "cost": cost,
                "is_byok": False,
                "cost_details": {
                    "upstream_inference_cost": None,
                    "upstream_inference_prompt_cost": cost,
                    "upstream_inference_completions_cost": 0,
                },
            },
        }
    )
    vectors = np.ascontiguousarray(result.vectors, dtype="<f4")
    pieces = [
        _rows(vectors[start : start + _PIECE], start, as_base64=as_base64) for start in range(0, len(vectors), _PIECE)
    ]
    return b'{"object":"list","data":[' + b",".join(pieces) + b"]," + tail[1:]


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
