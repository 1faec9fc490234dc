"""One system in its own process and environment, for throughput.py: texts come in as JSON lines, seconds go out.

    python encode_worker.py st|embedrouter MODEL_DIR [--engine E] [--precision P] [--threads N]

Only the encode call is timed: reading and checking are outside.
"""

import argparse
import base64
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Encode: TypeAlias = Callable[[list[str]], NDArray[np.float32]]


def sentence_transformers(model: str, threads: int) -> tuple[Encode, dict[str, object]]:
    import torch
    from sentence_transformers import SentenceTransformer

    if threads:
        torch.set_num_threads(threads)
    loaded = SentenceTransformer(model, device="cpu")

    def encode(texts: list[str]) -> NDArray[np.float32]:
        found = loaded.encode(texts, batch_size=32, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, np.float32)

    return encode, {
        "engine": f"torch {torch.__version__}",
        "precision": "float32",
        "threads": torch.get_num_threads(),
        "versions": versions("sentence-transformers", "transformers", "tokenizers", "torch", "numpy"),
    }


def embedrouter(model: str, engine: str, precision: str, threads: int) -> tuple[Encode, dict[str, object]]:
    from embedrouter.minilm import MiniLM

    loaded = MiniLM(
        model,
        engine=cast("Literal['auto', 'openvino']", engine),
        precision=cast("Literal['auto', 'float32', 'bfloat16']", precision),
        threads=threads,
    )
    return lambda texts: loaded.encode(texts, truncate=True), {
        "engine": loaded.engine.name,
        "precision": loaded.engine.precision,
        "threads": threads or "all",
        "versions": versions("embedrouter", "openvino", "tokenizers", "numpy"),
    }


def versions(*packages: str) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


def main() -> None:
    parser = argparse.ArgumentParser(description="Encode what throughput.py sends.")
    parser.add_argument("system", choices=["st", "embedrouter"])
    parser.add_argument("model")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()

    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(message: dict[str, object]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    if options.system == "st":
        encode, facts = sentence_transformers(options.model, options.threads)
    else:
        encode, facts = embedrouter(options.model, options.engine, options.precision, options.threads)
    answer(facts)
    for line in sys.stdin:
        texts = json.loads(line)
        started, cpu_started = time.perf_counter(), time.process_time()
        vectors = encode(texts)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        sample = np.ascontiguousarray(vectors[:64], "<f4").tobytes()
        answer({"seconds": seconds, "cores": cpu_seconds / seconds, "sample": base64.b64encode(sample).decode("ascii")})


if __name__ == "__main__":
    main()
