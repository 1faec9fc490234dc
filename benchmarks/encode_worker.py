"""One system in its own process and environment, for throughput.py: texts come in as JSON lines, seconds go out.

    python encode_worker.py st|onnxruntime|embedrouter MODEL_DIR [--engine E] [--precision P] [--threads N]

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
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from embedrouter.settings import EngineName, Precision

Encode: TypeAlias = Callable[[list[str]], NDArray[np.float32]]


def sentence_transformers(model: str, precision: str, threads: int) -> tuple[Encode, dict[str, object]]:
    import torch
    from sentence_transformers import SentenceTransformer

    if threads:
        torch.set_num_threads(threads)
    loaded = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": precision})

    def encode(texts: list[str]) -> NDArray[np.float32]:
        found = loaded.encode(texts, batch_size=32, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, np.float32)

    return encode, {
        "engine": f"torch {torch.__version__}",
        "precision": precision,
        "threads": torch.get_num_threads(),
        "versions": versions("sentence-transformers", "transformers", "tokenizers", "torch", "numpy"),
    }


def onnxruntime(model: str, threads: int) -> tuple[Encode, dict[str, object]]:
    """The model exported by optimum, once, in batches of 32 of like length, as sentence-transformers makes them."""
    import onnxruntime as ort
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from tokenizers import Tokenizer

    exported = Path(sys.prefix) / "minilm-onnx"
    if not (exported / "model.onnx").is_file():
        ORTModelForFeatureExtraction.from_pretrained(model, export=True).save_pretrained(exported)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(exported / "model.onnx", options, ["CPUExecutionProvider"])
    names = {given.name for given in session.get_inputs()}
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()

    def encode(texts: list[str]) -> NDArray[np.float32]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        found = np.empty((len(ids), 384), np.float32)
        for start in range(0, len(order), 32):
            some = order[start : start + 32]
            batch = np.zeros((len(some), len(ids[some[0]])), np.int64)
            mask = np.zeros_like(batch)
            for row, i in enumerate(some):
                batch[row, : len(ids[i])] = ids[i]
                mask[row, : len(ids[i])] = 1
            given = {"input_ids": batch, "attention_mask": mask, "token_type_ids": np.zeros_like(batch)}
            hidden = session.run(None, {name: value for name, value in given.items() if name in names})[0]
            pooled = (hidden * mask[:, :, None]).sum(1)
            found[some] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return found

    return encode, {
        "engine": "onnxruntime",
        "precision": "float32",
        "threads": threads or "all",
        "versions": versions("onnxruntime", "optimum", "tokenizers", "numpy"),
    }


def embedrouter(model: str, engine: str, precision: str, threads: int) -> tuple[Encode, dict[str, object]]:
    from embedrouter.minilm import MiniLM

    loaded = MiniLM(
        model,
        engine=cast("EngineName", engine),
        precision=cast("Precision", precision),
        threads=threads,
    )
    return lambda texts: loaded.encode(texts, truncate=True), {
        "engine": loaded.engine.reason,
        "precision": loaded.engine.precision,
        "threads": threads or "all",
        "versions": versions("embedrouter", "openvino", "tokenizers", "numpy"),
    }


def versions(*packages: str) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


def main() -> None:
    parser = argparse.ArgumentParser(description="Encode what throughput.py sends.")
    parser.add_argument("system", choices=["st", "onnxruntime", "embedrouter"])
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
        encode, facts = sentence_transformers(options.model, options.precision, options.threads)
    elif options.system == "onnxruntime":
        encode, facts = onnxruntime(options.model, options.threads)
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
