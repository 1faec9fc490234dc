"""Five providers that misbehave in every way, at random; while one of them is healthy, every request must be answered.

By hand, from the folder `tests`: python -m fault.chaos --requests 100000
"""

import argparse
import base64
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from server import KEY, Server, serving
from upstream import Upstream, vector_of

DIMENSIONS: Final = 32
MODEL: Final = "chaos/model"
_PROVIDERS: Final = 5
_CLIENTS: Final = 10
_SPAN: Final = 1.0  # seconds after which another provider is the healthy one
_FAULTS: Final = (
    "slow:0.3", "reset", "close", "429:1", "429", "500", "503", "half", "half_chunked", "garbage", "few", "many",
    "short", "nan", "null", "twice", "gzip_bomb", "bad_gzip", "endless", "error200", "redirect", "html", "empty",
    "no_json", "wrong_type", "huge_header", "shuffled", "gzip",
)  # fmt: skip


class Report(NamedTuple):
    """What it came to."""

    requests: int
    answered: int  # with 200 and the right vectors
    wrong: int  # vectors that are not the texts'
    statuses: dict[int, int]
    errors: list[str]  # the first ones
    faults: int  # calls that an upstream spoiled
    providers: dict[str, int]  # who answered
    slowest: float  # seconds
    seconds: float

    @property
    def availability(self) -> float:
        return self.answered / self.requests


def _policy(place: int, seed: int, faults: Counter[str]) -> Callable[[int], str]:
    """Healthy in its turn; else mostly not."""
    chance = random.Random(seed * 100 + place)

    def behave(_: int) -> str:
        if int(time.monotonic() / _SPAN) % _PROVIDERS == place or chance.random() < 0.3:
            return "ok"
        fault = chance.choice(_FAULTS)
        faults[fault] += 1
        return fault

    return behave


def _catalog(folder: Path, upstreams: list[Upstream]) -> Path:
    lines = [f'[[models]]\nslug = "{MODEL}"\ncontext_length = 8192\ndimensions = {DIMENSIONS}\n']
    for place, upstream in enumerate(upstreams):
        slug = f"p{place}"
        lines.append(
            f'[[providers]]\nslug = "{slug}"\nname = "P{place}"\nwire = "openai"\nbase_url = "{upstream.url}"\n'
            f"allow_private = true\nneeds_credential = false\n"
            f'[[endpoints]]\nmodel = "{MODEL}"\nprovider = "{slug}"\nupstream_model = "m"\n'
            f'price_per_million = "0.0{place + 1}"\n'
        )
    path = folder / "catalog.toml"
    path.write_text("\n".join(lines))
    return path


class _Client:
    """One connection that asks again and again, and looks at every vector."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._chance = random.Random(seed)
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self) -> tuple[int, Any, bool, float]:
        """Status, body, whether the vectors are right, seconds."""
        texts = [f"text {self._chance.random()}" for _ in range(self._chance.choice((1, 1, 1, 2, 5)))]
        body = json.dumps({"model": MODEL, "input": texts, "encoding_format": "base64"})
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        started = time.monotonic()
        self._connection.request("POST", "/api/v1/embeddings", body, headers)
        response = self._connection.getresponse()
        document = json.loads(response.read())
        seconds = time.monotonic() - started
        if response.status != 200:
            return response.status, document, False, seconds
        rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in document["data"]]
        right = len(rows) == len(texts) and all(
            np.array_equal(row, vector_of(text, DIMENSIONS)) for row, text in zip(rows, texts, strict=True)
        )
        return 200, document, right, seconds


def run(folder: Path, requests: int, *, seed: int = 0) -> Report:
    """Requests of ten clients to one gateway before five such providers."""
    faults: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    providers: Counter[str] = Counter()
    errors: list[str] = []
    counts = Counter(wrong=0, answered=0)
    slowest = 0.0
    left = iter(range(requests))
    lock = threading.Lock()

    with ExitStack() as stack:
        upstreams = [
            stack.enter_context(Upstream(_policy(place, seed, faults), dimensions=DIMENSIONS))
            for place in range(_PROVIDERS)
        ]
        catalog = _catalog(folder, upstreams)
        server = stack.enter_context(serving(folder / "gateway", catalog=catalog, builtin=False, attempt_timeout_s=5))
        started = time.monotonic()

        def work(place: int) -> None:
            nonlocal slowest
            client = _Client(server, seed * 1000 + place)
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                status, document, right, seconds = client.ask()
                with lock:
                    statuses[status] += 1
                    slowest = max(slowest, seconds)
                    if status == 200:
                        counts["answered" if right else "wrong"] += 1
                        providers[document["provider"]] += 1
                    elif len(errors) < 5:
                        errors.append(json.dumps(document)[:600])

        threads = [threading.Thread(target=work, args=(place,)) for place in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started
    return Report(
        requests, counts["answered"], counts["wrong"], dict(statuses), errors, faults.total(), dict(providers),
        slowest, seconds,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report = run(Path(name), options.requests, seed=options.seed)
    for field, value in report._asdict().items():
        print(f"{field:12} {value}")
    print(f"availability {report.availability:.5%}")
    sys.exit(0 if report.wrong == 0 and report.availability >= 0.9999 else 1)


if __name__ == "__main__":
    main()
