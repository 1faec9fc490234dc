"""Where the native engine's time goes, stage by stage, beside what a core can do at most; and the latency of one text.

    python benchmarks/engine.py                        each path this CPU has (some two minutes)
    python benchmarks/engine.py --paths avx512-bf16

Ceilings are measured by ceilings.cpp, which needs g++: multiply-adds from registers, and reading from each level of
memory. A stage's share is its operations a second over the ceiling of its path. One thread: a core beside a core.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import HERE, announce, machine, model_folder, number, save, table
from embedrouter.minilm import cpu
from embedrouter.minilm.engines import native
from embedrouter.minilm.engines.base import Engine
from embedrouter.minilm.engines.choose import make_engine
from embedrouter.minilm.weights import Weights, check
from embedrouter.settings import NativePath, Precision

SHAPES = ((1, 12), (1, 32), (16, 32), (8, 128), (4, 256))  # sequences, tokens each
CEILINGS = {
    "amx-bf16": "tiles bf16",
    "avx512-bf16": "bf16",
    "avx512-fp32": "fp32",
    "amx-int8": "tiles int8",
    "vnni-int8": "int8",
}
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def ceilings() -> dict[str, float]:
    """Operations or bytes a second of one core."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceilings"
        subprocess.run(["g++", "-O2", "-std=c++20", str(HERE / "ceilings.cpp"), "-o", str(program)], check=True)
        found: dict[str, float] = json.loads(subprocess.run([program], check=True, capture_output=True).stdout)
    return found


def operations(tokens: int) -> dict[str, float]:
    """Of one token in a sequence of so many, by stage: a multiply-add is two."""
    layers, hidden, wide = 6, 384, 1536
    return {
        "qkv": 2.0 * layers * hidden * 3 * hidden,
        "attention": 2.0 * layers * 2 * tokens * hidden,
        "attention output": 2.0 * layers * hidden * hidden,
        "intermediate": 2.0 * layers * hidden * wide,
        "output": 2.0 * layers * wide * hidden,
    }


def sequences(count: int, tokens: int) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(count * 1000 + tokens)
    return [random.integers(1000, 20_000, tokens).astype(np.int32) for _ in range(count)]


def seconds_of(engine: Engine, batch: list[NDArray[np.int32]], rounds: int) -> list[float]:
    engine.embed(batch)
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        engine.embed(batch)
        taken.append(time.perf_counter() - started)
    return taken


def stages(
    engine: native.NativeEngine, batch: list[NDArray[np.int32]], ticks_per_second: float, rounds: int
) -> tuple[float, dict[str, float]]:
    """Of the fastest round: its seconds, and those of each stage."""
    engine.embed(batch)
    best: tuple[float, dict[str, float]] | None = None
    for _ in range(rounds):
        before = engine.stages()
        started = time.perf_counter()
        engine.embed(batch)
        seconds = time.perf_counter() - started
        spent = {name: (ticks - before[name]) / ticks_per_second for name, ticks in engine.stages().items()}
        if best is None or seconds < best[0]:
            best = seconds, spent
    assert best is not None
    return best


def stage_rows(weights: Weights, path: str, limits: dict[str, float], rounds: int) -> list[list[str]]:
    engine = native.NativeEngine(weights, path, 1, "")
    peak = limits[CEILINGS[path]]
    rows = []
    for count, length in SHAPES:
        seconds, spent = stages(engine, sequences(count, length), limits["ticks_per_second"], rounds)
        tokens = count * length
        work = operations(length)
        for name, share in spent.items():
            if share == 0:
                continue
            rate = work[name] * tokens / share if name in work else 0.0
            rows.append(
                [
                    f"{path}, {count} x {length}",
                    name,
                    f"{share / tokens * 1e6:.2f}",
                    f"{share / seconds:.1%}",
                    number(rate / 1e9) if rate else "",
                    f"{rate / peak:.0%}" if rate else "",
                ]
            )
        rate = sum(work.values()) * tokens / seconds
        whole = [f"{seconds / tokens * 1e6:.2f}", "100.0%", number(rate / 1e9), f"{rate / peak:.0%}"]
        rows.append([f"{path}, {count} x {length}", "all", *whole])
    return rows


def latency_rows(weights: Weights, paths: list[NativePath], rounds: int) -> list[list[str]]:
    rows = []
    for threads in sorted({1, cpu.available_cores()}):
        engines: list[tuple[str, Engine]] = [
            (path, make_engine(weights, "native", "auto", threads, path)) for path in paths
        ]
        engines += [
            (f"OpenVINO {precision}", make_engine(weights, "openvino", precision, threads)) for precision in PRECISIONS
        ]
        for length in (12, 32, 128, 256):
            batch = sequences(1, length)
            for name, engine in engines:
                taken = sorted(1000 * seconds for seconds in seconds_of(engine, batch, rounds))
                last = taken[int(0.99 * len(taken))]
                rows.append(
                    [
                        str(length),
                        str(threads),
                        name,
                        f"{taken[0]:.2f}",
                        f"{statistics.median(taken):.2f}",
                        f"{last:.2f}",
                    ]
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", nargs="+", choices=native.available(), default=list(native.available()))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    options = parser.parse_args()
    facts = machine()
    announce(facts)
    weights = check(options.model or model_folder())
    limits = ceilings()
    print()
    ceiling_rows = [
        [name, f"{number(rate / 1e9)} {'GB/s' if name.startswith('read') else 'G operations/s'}"]
        for name, rate in limits.items()
        if name != "ticks_per_second"
    ]
    print(table(["ceiling of one core", "measured"], ceiling_rows), "\n", flush=True)
    by_stage = [row for path in options.paths for row in stage_rows(weights, path, limits, options.rounds)]
    print(table(["path, batch", "stage", "us a token", "share of time", "G operations/s", "of the ceiling"], by_stage))
    print(flush=True)
    latency = latency_rows(weights, options.paths, 5 * options.rounds)
    print(table(["tokens", "threads", "engine", "fastest, ms", "p50, ms", "p99, ms"], latency))
    save("engine", {"machine": facts, "ceilings": limits, "stages": by_stage, "latency_ms": latency})


if __name__ == "__main__":
    main()
