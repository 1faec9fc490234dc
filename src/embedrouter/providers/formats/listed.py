"""OpenAI's answer, which many took over: a list of vectors, each with its index, as numbers or base64."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.providers.formats.answers import (
    Body,
    Reply,
    field,
    from_base64,
    from_rows,
    in_order,
    model_name,
    read,
    tokens,
    wrong,
)
from embedrouter.providers.wire import Failure, Target, WireAnswer, WireCall


class Item(msgspec.Struct):
    """One vector."""

    index: int
    embedding: list[float] | str  # str: base64


class Listed(Body, kw_only=True):
    """The whole answer."""

    data: list[Item]
    model: Any = None
    usage: Any = None


_DECODER: Final = msgspec.json.Decoder(Listed)


def parse(reply: Reply, target: Target, call: WireCall, codes: Mapping[str, Failure] | None = None) -> WireAnswer:
    """Vectors in the order of the texts. Raises UpstreamError."""
    answer = read(_DECODER, reply, target, call, codes)
    counted = tokens(field(answer.usage, "prompt_tokens"), call)
    if counted is None:  # Voyage counts only in all, which is the same for embeddings
        counted = tokens(field(answer.usage, "total_tokens"), call)
    return WireAnswer(_vectors(answer.data, target, call), counted, model_name(answer.model))


def _vectors(items: list[Item], target: Target, call: WireCall) -> NDArray[np.float32]:
    found = [items[place].embedding for place in in_order([item.index for item in items], len(call.texts))]
    packed = [one for one in found if isinstance(one, str)]
    if packed:
        if len(packed) != len(found):
            wrong("it gave some vectors as numbers and some as base64")
        return from_base64(packed, target, call)
    return from_rows([one for one in found if not isinstance(one, str)], target, call)
