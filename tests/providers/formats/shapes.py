"""Answers of every format, made from vectors: to be spoiled by tests."""

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from embedrouter.providers.wire import Target, WireCall

SECRET: Final = "canary-4f9d2c7be01a8d35"
LISTED: Final = ("openai", "azure", "mistral", "jina", "voyage")  # those whose vectors have an index

Row = Sequence[Any]


def target(name: str, **values: Any) -> Target:
    model = "@cf/some/model" if name == "cloudflare" else "model-1"
    return Target(**{"base_url": "https://provider.example/v1", "model": model, "credential": SECRET, **values})


def call(name: str, **values: Any) -> WireCall:
    """Of two texts, where the format takes more than one."""
    return WireCall(**{"texts": ["one"] if name == "bedrock" else ["one", "two"], **values})


def listed(rows: Sequence[Row | str], indices: Sequence[Any] | None = None) -> Any:
    places = range(len(rows)) if indices is None else indices
    items = [{"index": index, "embedding": row} for index, row in zip(places, rows, strict=True)]
    return {"object": "list", "data": items, "model": "model-1", "usage": {"prompt_tokens": 2, "total_tokens": 2}}


SHAPES: Final[Mapping[str, Callable[[Sequence[Row]], Any]]] = {
    **dict.fromkeys(LISTED, listed),
    "cohere": lambda rows: {"id": "1", "embeddings": {"float": rows}, "meta": {"billed_units": {"input_tokens": 2}}},
    "gemini": lambda rows: {"embeddings": [{"values": row} for row in rows], "usageMetadata": {"promptTokenCount": 2}},
    "tei": lambda rows: rows,
    "ollama": lambda rows: {"model": "model-1", "embeddings": rows, "prompt_eval_count": 2},
    "cloudflare": lambda rows: {"result": {"shape": [1], "data": rows}, "success": True, "errors": []},
    "nomic": lambda rows: {"embeddings": rows, "model": "model-1", "usage": {"prompt_tokens": 2, "total_tokens": 2}},
    "bedrock": lambda rows: {"embedding": rows[0], "inputTextTokenCount": 2} if rows else {"inputTextTokenCount": 2},
}


def packed(*numbers: float) -> str:
    """Little-endian float32 in base64."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def body(name: str, rows: Sequence[Row]) -> bytes:
    return orjson.dumps(SHAPES[name](rows))
