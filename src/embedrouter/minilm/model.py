"""all-MiniLM-L6-v2 for Python: load it once, use it from any thread.

from embedrouter.minilm import MiniLM

model = MiniLM()
vectors = model.encode(["A text.", "Another one."])  # (2, 384) float32, unit length
model.similarity("king", ["queen", "carrot"])
"""

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm.batcher import Batcher, Watcher
from embedrouter.minilm.engines.base import Engine
from embedrouter.minilm.engines.choose import make_engine
from embedrouter.minilm.facts import DIMENSIONS, MAX_INPUT
from embedrouter.minilm.pipeline import Embedded, Inputs, Pipeline
from embedrouter.minilm.tokenizer import Tokenizer
from embedrouter.minilm.weights import TENSORS, Weights, ensure
from embedrouter.minilm.windows import LongInput, Vectors, plan, shorten
from embedrouter.settings import EngineName, NativePath, Precision, Settings

Progress = Callable[[int, int], None]
"""Called with (done, total) inputs."""

_CHUNK: Final = 2048  # inputs of one request to the pipeline
_RULE: Final = "long-inputs="  # in a fingerprint
_AHEAD: Final = 3  # requests in flight, so that tokenising overlaps computing


def fingerprint(precision: str, rule: LongInput = LongInput.WINDOWS) -> str:
    """The fingerprint of a model that computes in `precision`, without loading one."""
    return f"sha256:{TENSORS.sha256[:16]};precision={precision};{_RULE}{rule.value}"


def long_input_rule(name: str | None) -> LongInput:
    """The rule that a fingerprint names; windows where it names none."""
    parts = (name or "").split(";")
    return next((rule for rule in LongInput if f"{_RULE}{rule.value}" in parts), LongInput.WINDOWS)


class MiniLM:
    """The model with its tokenizer, engine and micro-batcher. A context manager; `close` stops its threads."""

    dimensions: Final = DIMENSIONS

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        threads: int = 0,
        native_path: NativePath = "auto",
        cache_dir: Path | str | None = None,
        offline: bool = False,
        max_queued_tokens: int = sys.maxsize,
        max_wait: float = math.inf,
        report: Callable[[str], None] = print,
        watcher: Watcher | None = None,
    ) -> None:
        """Find, check and load the weights; the first time, fetch them.

        folder: one that holds model.safetensors and tokenizer.json. threads: 0 for all the process may use.
        native_path: forces an instruction path of the native engine.
        max_queued_tokens, max_wait: when to refuse, for a server; by default callers wait. report: receives lines for
        people while weights are fetched. Raises WeightsError, SettingsError.
        """
        cache = Path(cache_dir) if cache_dir is not None else Settings().cache_dir
        self.weights: Weights = ensure(Path(folder) if folder else None, cache, offline=offline, report=report)
        self.tokenizer = Tokenizer(self.weights.tokenizer)
        self.engine: Engine = make_engine(self.weights, engine, precision, threads, native_path)
        self._make_batcher = partial(
            Batcher, self.engine, max_queued_tokens=max_queued_tokens, max_wait=max_wait, watcher=watcher
        )
        self._forks = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self.pipeline = Pipeline(self.tokenizer, self._make_batcher())

    def fingerprint(self, rule: LongInput = LongInput.WINDOWS) -> str:
        """Names what decides a vector: weights, precision, long-input rule. Vectors of one fingerprint compare."""
        return fingerprint(self.engine.precision, rule)

    def encode(
        self,
        inputs: str | Inputs,
        *,
        truncate: bool | None = None,
        dimensions: int = DIMENSIONS,
        progress: bool | Progress = False,
    ) -> Vectors:
        """Unit vectors (n, dimensions) float32 of n texts, or of n lists of this model's token ids, in order.

        truncate: None embeds long inputs by windows, up to 8,192 tokens; True cuts at 256 tokens as
        sentence-transformers does; False refuses what is longer. progress: True for a bar, or your own function.
        Raises ContextLengthExceededError, InvalidRequestError.
        """
        if not 1 <= dimensions <= DIMENSIONS:
            raise InvalidRequestError(f"dimensions must be 1 to {DIMENSIONS}, not {dimensions}")
        batch: Inputs = [inputs] if isinstance(inputs, str) else inputs
        _check_kinds(batch)
        self._follow_fork()
        rule = LongInput.of(truncate)
        vectors = np.empty((len(batch), DIMENSIONS), np.float32)
        starts = iter(range(0, len(batch), _CHUNK))
        running: deque[tuple[int, Future[Embedded]]] = deque()
        with _progress(progress, len(batch)) as advance:
            try:
                while True:
                    while len(running) < _AHEAD and (start := next(starts, None)) is not None:
                        chunk = batch[start : start + _CHUNK]
                        running.append((start, self.pipeline.submit(chunk, rule, first=start)))
                    if not running:
                        break
                    start, future = running.popleft()
                    found = future.result().vectors
                    vectors[start : start + len(found)] = found
                    advance(start + len(found), len(batch))
            finally:
                for _, future in running:
                    future.cancel()
        return shorten(vectors, dimensions)

    def count_tokens(self, inputs: str | Sequence[str], *, truncate: bool | None = None) -> list[int]:
        """Billed tokens of each text, [CLS] and [SEP] included, under the long-input rule; computes no vector."""
        texts = [inputs] if isinstance(inputs, str) else inputs
        _check_kinds(texts)
        contents = self.tokenizer.contents(texts, enough=MAX_INPUT)
        rule = LongInput.of(truncate)
        return [plan(content.ids, rule, i, exact=content.exact).tokens for i, content in enumerate(contents)]

    def similarity(self, left: str | Sequence[str], right: str | Sequence[str]) -> Vectors:
        """Cosine similarities (n, m) of n texts with m texts, in [-1, 1]."""
        scores: Vectors = np.clip(self.encode(left) @ self.encode(right).T, -1.0, 1.0)
        return scores

    def _follow_fork(self) -> None:
        """Threads do not survive a fork: the child needs its own."""
        if self._process == os.getpid():
            return
        if self.engine.name != "native":
            raise RuntimeError("this process was forked after the model was loaded; with OpenVINO, load it after that")
        with self._forks:
            if self._process != os.getpid():
                self._start()

    def close(self, timeout: float | None = None) -> None:
        """Finish what was taken, at most `timeout` seconds, and stop the threads."""
        if self._process == os.getpid():
            self.pipeline.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_kinds(inputs: Sequence[object]) -> None:
    """Refuse what is neither texts nor lists of ids before anything is computed."""
    kind: type = str if inputs and isinstance(inputs[0], str) else Sequence
    for index, item in enumerate(inputs):
        if kind is str and not isinstance(item, str):
            raise InvalidRequestError(f"input[{index}] is {type(item).__name__}, not str like input[0]")
        if kind is not str and (
            isinstance(item, str | bytes) or not isinstance(item, Sequence) or not all(isinstance(i, int) for i in item)
        ):
            raise InvalidRequestError(f"input[{index}] is not a list of token ids like input[0]")


def _progress(progress: bool | Progress, total: int) -> AbstractContextManager[Progress]:
    if progress is False:
        return nullcontext(lambda _done, _total: None)
    if progress is not True:
        return nullcontext(progress)
    from embedrouter.telemetry.progress import bar

    return bar("Embedding", total)
