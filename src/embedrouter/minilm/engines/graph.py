"""all-MiniLM-L6-v2 as an OpenVINO model, made from the safetensors with OpenVINO's own building blocks.

One graph from token ids to unit vectors: embeddings, six transformer layers, mean pooling and L2 norm. Inputs:
`ids` (n, s) int32, padded with anything in the vocabulary, and `lengths` (n,) int32, the real length of each row.
Output: (n, 384) float32. A padded position reaches no result: attention masks it and pooling skips it.

Source: Devlin et al. 2019 (BERT) with the sizes of the model's config.json; LayerNorm epsilon 1e-12, erf GELU.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from embedrouter.minilm.facts import DIMENSIONS, HEADS, LAYERS

Tensors = Mapping[str, NDArray[np.float32]]

_EPSILON = 1e-12
_HEAD_SIZE = DIMENSIONS // HEADS
_MASKED = np.float32(-1e9)  # added to a masked score before the softmax


def build(tensors: Tensors) -> ov.Model:
    """The graph over the tensors of model.safetensors, whose memory it shares: keep them until it is compiled."""
    ids = op.parameter([-1, -1], np.int32, name="ids")
    lengths = op.parameter([-1], np.int32, name="lengths")
    width = op.gather(op.shape_of(ids), _scalar(1), _scalar(0))
    positions = op.range(_scalar(0), width, _scalar(1), output_type="i64")
    real = op.less(op.unsqueeze(op.convert(positions, "i32"), _scalar(0)), op.unsqueeze(lengths, _scalar(1)))
    scores_bias = op.select(real, op.constant(np.float32(0)), op.constant(_MASKED))
    scores_bias = op.unsqueeze(op.unsqueeze(scores_bias, _scalar(1)), _scalar(1))  # (n, 1, 1, s)

    hidden = _embeddings(tensors, ids, positions)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        hidden = _attention(tensors, prefix + "attention.", hidden, scores_bias)
        hidden = _feed_forward(tensors, prefix, hidden)

    # The sum needs no division by the length: the norm takes it out again.
    weight = op.unsqueeze(op.convert(real, "f32"), _scalar(2))
    pooled = op.reduce_sum(op.multiply(hidden, weight), op.constant(np.array([1])), keep_dims=False)
    vectors = op.normalize_l2(pooled, op.constant(np.array([1])), _EPSILON, "max")
    return ov.Model([op.result(vectors)], [ids, lengths], "all-MiniLM-L6-v2")


def _embeddings(tensors: Tensors, ids: Any, positions: Any) -> Any:
    words = op.gather(_tensor(tensors["embeddings.word_embeddings.weight"]), ids, _scalar(0))
    # Every token is of type 0, so its type vector is part of the position's.
    places = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    summed = op.add(words, op.gather(op.constant(places), positions, _scalar(0)))
    return _layer_norm(tensors, "embeddings.LayerNorm", summed)


def _attention(tensors: Tensors, prefix: str, hidden: Any, scores_bias: Any) -> Any:
    query, key, value = (_heads(_linear(tensors, f"{prefix}self.{part}", hidden)) for part in ("query", "key", "value"))
    scores = op.multiply(op.matmul(query, key, False, True), op.constant(np.float32(_HEAD_SIZE**-0.5)))
    mixed = op.matmul(op.softmax(op.add(scores, scores_bias), -1), value, False, False)
    joined = op.reshape(op.transpose(mixed, _order(0, 2, 1, 3)), _order(0, 0, DIMENSIONS), True)
    projected = _linear(tensors, prefix + "output.dense", joined)
    return _layer_norm(tensors, prefix + "output.LayerNorm", op.add(projected, hidden))


def _feed_forward(tensors: Tensors, prefix: str, hidden: Any) -> Any:
    wide = op.gelu(_linear(tensors, prefix + "intermediate.dense", hidden), "erf")
    narrow = _linear(tensors, prefix + "output.dense", wide)
    return _layer_norm(tensors, prefix + "output.LayerNorm", op.add(narrow, hidden))


def _heads(hidden: Any) -> Any:
    """(n, s, 384) to (n, heads, s, head size)."""
    return op.transpose(op.reshape(hidden, _order(0, 0, HEADS, _HEAD_SIZE), True), _order(0, 2, 1, 3))


def _linear(tensors: Tensors, name: str, hidden: Any) -> Any:
    product = op.matmul(hidden, _tensor(tensors[name + ".weight"]), False, True)
    return op.add(product, _tensor(tensors[name + ".bias"]))


def _layer_norm(tensors: Tensors, name: str, hidden: Any) -> Any:
    centred = op.mvn(hidden, op.constant(np.array([-1])), True, _EPSILON, "INSIDE_SQRT")
    return op.add(op.multiply(centred, _tensor(tensors[name + ".weight"])), _tensor(tensors[name + ".bias"]))


def _tensor(array: NDArray[np.float32]) -> Any:
    return op.constant(array, shared_memory=True)


def _scalar(value: int) -> Any:
    return op.constant(np.array(value, np.int64))


def _order(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))
