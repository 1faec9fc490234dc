"""The OpenVINO engine: one stream a core, each computing its own batch.

Streams of one thread were measured faster than one stream over all cores at every shape (docs/decisions/0003): two
small batches side by side lose nothing to synchronisation.
"""

from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
from safetensors.numpy import load_file

from embedrouter.minilm.engines.base import Precision
from embedrouter.minilm.engines.graph import build
from embedrouter.minilm.facts import DIMENSIONS
from embedrouter.minilm.weights import Weights
from embedrouter.minilm.windows import Ids, Vectors

# Compiled kernels kept for batch shapes seen before, a stream. Measured: the default of 5,000 keeps over 500 MB, this
# about 120 MB, at the same speed; 50 costs 4 % and none 15 %.
_CACHED_KERNELS = "150"
_SHORT = 64  # tokens
_STEP = 16
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """Sequences in, unit vectors out, padded to the longest of the batch."""

    name = "openvino"
    pads = True

    def __init__(self, weights: Weights, precision: Precision, threads: int, reason: str) -> None:
        self.precision = precision
        self.workers = threads
        self.reason = reason
        core = ov.Core()
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_KERNELS,
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        tensors = load_file(weights.tensors)
        self._compiled = core.compile_model(build(tensors), "CPU", options)
        # One infer request a worker: a request owns its buffers and serves one thread at a time.
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            self._requests.put(self._compiled.create_infer_request())

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        """Unit vectors (n, 384) of n sequences of 1 to 256 ids each, in order."""
        lengths = np.fromiter(map(len, sequences), np.int32, len(sequences))
        ids = np.zeros((len(sequences), _width(len(sequences), int(lengths.max()))), np.int32)
        for row, sequence in zip(ids, sequences, strict=True):
            row[: len(sequence)] = sequence
        request = self._requests.get()
        try:
            results = request.infer({0: ids, 1: lengths}, share_inputs=True, share_outputs=True)
            vectors = np.array(results[0], np.float32, copy=True)
        finally:
            self._requests.put(request)
        if vectors.shape != (len(sequences), DIMENSIONS) or not np.isfinite(vectors).all():
            raise FloatingPointError("the engine returned a vector that is not finite or of the wrong size")
        return vectors


def _width(count: int, longest: int) -> int:
    """Tokens each sequence is padded to.

    OpenVINO sets its graph up anew when a shape differs from the one before, which takes as long as ten tokens. Short
    texts that come one by one keep one shape; in larger batches exact widths save more.
    """
    return -(-longest // _STEP) * _STEP if count == 1 and longest <= _SHORT else longest
