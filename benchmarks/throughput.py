"""Texts a second from Python: `embedrouter.minilm.MiniLM().encode(texts)` beside what others offer.

Each system runs in its own process and environment, gets the same texts and cuts at 256 tokens. Rounds alternate
(A B C A B C); whoever is not measured is stopped. sentence-transformers encodes with batch_size=32, its default.

    python benchmarks/throughput.py                     all corpora, three rounds, some fifteen minutes on two cores
    python benchmarks/throughput.py --corpora mix --rounds 5 --systems st-float32 native-bfloat16
    python benchmarks/throughput.py --threads 1         everybody on one thread
"""

import argparse
import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from common import (
    HERE,
    INFINITY,
    PEER_ENVIRONMENT,
    ST_PYTHON,
    Spread,
    announce,
    machine,
    model_folder,
    need,
    number,
    pause,
    resume,
    save,
    stop,
    table,
)
from servers import raise_on_sigterm
from texts import CORPORA, add_data_argument, sample

PEER = "st-float32"
BASE = "openvino-bfloat16"
OWN = ("openvino-float32", BASE, "native-float32", "native-bfloat16", "native-int8")
SYSTEMS = (PEER, "st-bfloat16", "onnxruntime-float32", *OWN)
# Texts of a round: six or seven seconds of the peer's time on two cores without AMX.
SIZES = {"questions": 2400, "sentences": 720, "dbpedia": 280, "passages": 160, "mix": 240}


class Round(NamedTuple):
    seconds: float
    cores: float  # CPU time over wall time: below the machine's cores, others took the rest or it idled
    sample: NDArray[np.float32]  # the first vectors, for checking


class System:
    """A worker process: load it, let it encode, stop its clock."""

    def __init__(self, name: str, python: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [str(python), str(HERE / "encode_worker.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **PEER_ENVIRONMENT},
        )
        self.facts = self._answer()
        pause(self._process)

    def encode(self, texts: list[str]) -> Round:
        assert self._process.stdin is not None
        resume(self._process)
        self._process.stdin.write(json.dumps(texts).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer()
        pause(self._process)
        vectors = np.frombuffer(base64.b64decode(str(answer["sample"])), "<f4").reshape(-1, 384)
        return Round(float(str(answer["seconds"])), float(str(answer["cores"])), vectors)

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended; its message is above")
        answer: dict[str, object] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._process, patience_s=5)


def measure(systems: Sequence[System], texts: list[str], rounds: int) -> dict[str, dict[str, object]]:
    """Texts a second of each system over alternating rounds, and how close its vectors are to the peer's."""
    for system in systems:
        system.encode(texts[:64])  # warm
    taken: dict[str, list[Round]] = {system.name: [] for system in systems}
    for _ in range(rounds):
        for system in systems:
            taken[system.name].append(system.encode(texts))
    reference = taken[PEER][0].sample
    found: dict[str, dict[str, object]] = {}
    peer_rates = [len(texts) / one.seconds for one in taken[PEER]]
    for name, results in taken.items():
        rates = [len(texts) / one.seconds for one in results]
        ratios = [rate / peer for rate, peer in zip(rates, peer_rates, strict=True)]
        found[name] = {
            "texts_per_second": Spread.of(rates),
            "ratio_to_peer": Spread.of(ratios),  # of rounds side by side
            "ratio_to_base": Spread.of(base_ratios) if (base_ratios := beside(taken.get(BASE), results)) else None,
            "cores_used": Spread.of([one.cores for one in results]),
            "lowest_cosine": float((results[0].sample * reference).sum(1).min()),
            "rounds": rates,
        }
    return found


def beside(base: list[Round] | None, results: list[Round]) -> list[float]:
    """How many times as fast as the base, round by round."""
    return [of_base.seconds / one.seconds for of_base, one in zip(base or [], results, strict=bool(base))]


def start(name: str, model: str, options: argparse.Namespace) -> System:
    engine, _, precision = name.partition("-")
    if engine == "st":
        python, worker = need(options.st_python), "st"
    elif engine == "onnxruntime":
        python, worker = need(INFINITY.with_name("python")), "onnxruntime"
    else:
        python, worker = Path(sys.executable), "embedrouter"
    arguments = [worker, model, "--threads", str(options.threads), "--precision", precision]
    return System(name, python, arguments + (["--engine", engine] if worker == "embedrouter" else []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_argument(parser)
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer texts than the default (0.1 to try)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--threads", type=int, default=0, help="for each; 0: its own default")
    parser.add_argument("--st-python", type=Path, default=ST_PYTHON, help="Python that has sentence-transformers")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    options = parser.parse_args()

    raise_on_sigterm()
    facts = machine()
    announce(facts)
    model = str(options.model or model_folder())
    chosen = [PEER, *(name for name in options.systems if name != PEER)]
    systems = [start(name, model, options) for name in chosen]

    results: dict[str, object] = {}
    rows = []
    try:
        for corpus in options.corpora:
            texts = sample(corpus, max(64, round(SIZES[corpus] * options.scale)), options.data)
            found = measure(systems, texts, options.rounds)
            results[corpus] = {"texts": len(texts), "systems": found}
            for name, figures in found.items():
                ratio, base, used = (figures[key] for key in ("ratio_to_peer", "ratio_to_base", "cores_used"))
                assert isinstance(ratio, Spread)
                assert isinstance(used, Spread)
                rows.append(
                    [
                        f"{corpus} ({len(texts):,})",
                        name,
                        str(figures["texts_per_second"]),
                        f"{number(ratio.median)}x",
                        f"{number(base.median)}x" if isinstance(base, Spread) else "",
                        number(used.median),
                        f"{figures['lowest_cosine']:.6f}",
                    ]
                )
                print(*rows[-1], sep="  ", flush=True)
    finally:
        for system in systems:
            system.__exit__()
    print()
    rate = "texts/s, median (min-max)"
    print(table(["texts", "system", rate, f"to {PEER}", f"to {BASE}", "cores used", "lowest cosine"], rows))
    named = {system.name: system.facts for system in systems}
    save("throughput", {"machine": facts, "systems": named, "rounds": options.rounds, "corpora": results})


if __name__ == "__main__":
    main()
