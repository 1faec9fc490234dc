"""The index among many vectors: time to build, memory, recall and speed, beside faiss and usearch with the same graph.

    make -C benchmarks .venv-faiss
    python benchmarks/index.py                       1,000,000 vectors; about an hour on two cores
    python benchmarks/index.py --count 50000
    python benchmarks/index.py --systems embedrouter-int8 faiss-hnsw

Vectors are real ones mixed with each other (vectors.py), queries are more of them; the truth is comparing each with
each. Each system runs in a process of its own, one after the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common import HERE, RESULTS, Spread, announce, machine, need, number, save, table
from embedrouter.tasks.hnsw import LINKS, WIDTH_ADD, search_width
from embedrouter.tasks.search import semantic_search
from texts import add_data_argument
from vectors import mixed, real_vectors

FAISS_PYTHON = HERE / ".venv-faiss" / "bin" / "python"
OWN = ("embedrouter-float32", "embedrouter-float16", "embedrouter-int8")
SYSTEMS = (*OWN, "usearch-f32", "usearch-f16", "usearch-i8", "faiss-hnsw", "faiss-ivf")
TOP = 10
_SEED_OF_QUERIES = 99


class Outcome(NamedTuple):
    system: str
    settings: str
    build_s: float
    build_cpu_s: float
    held_mib: float
    peak_mib: float
    recall: float
    together: Spread  # queries a second, all given at once
    alone: Spread  # one after the other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    add_data_argument(parser)
    given = parser.parse_args()
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        real = real_vectors(given.data, RESULTS / "real-vectors.npy")
        vectors = mixed(real, given.count)
        queries = mixed(real, given.queries, seed=_SEED_OF_QUERIES)
        np.save(place / "vectors.npy", vectors)
        np.save(place / "queries.npy", queries)
        true = np.array([[match.index for match in found] for found in semantic_search(queries, vectors, top_k=TOP)])
        del vectors, real
        outcomes = []
        for system in given.systems:
            outcomes.append(measure(system, place, true, given))
            print(f"{system}: recall {outcomes[-1].recall:.4f}, built in {outcomes[-1].build_s:,.0f} s", flush=True)
    headings = ["system", "settings", "built, s", "memory, MiB", "recall@10", "queries/s together", "one by one"]
    print(
        f"\n{given.count:,} vectors, {given.queries:,} queries\n\n" + table(headings, [cells(one) for one in outcomes])
    )
    save(f"index-{given.count}", {"machine": facts, "count": given.count, "outcomes": outcomes})


def measure(system: str, place: Path, true: NDArray[np.int64], given: argparse.Namespace) -> Outcome:
    """Run a worker, and compare what it found with the truth."""
    python = need(FAISS_PYTHON) if system.startswith("faiss") else Path(sys.executable)
    options = {"links": LINKS, "add": WIDTH_ADD, "search": search_width(given.count)}
    options |= {"threads": given.threads, "rounds": given.rounds}
    command = [str(python), str(HERE / "index_worker.py"), system]
    command += [str(place / f"{name}.npy") for name in ("vectors", "queries", "found")]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(given.threads)} if given.threads else {})}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    told = json.loads(done.stdout.splitlines()[-1])
    found = np.load(place / "found.npy")
    recall = np.mean([len(set(row) & set(best)) / TOP for row, best in zip(found, true, strict=True)])
    return Outcome(
        system,
        told["settings"],
        told["build_s"],
        told["build_cpu_s"],
        told["held_mib"],
        told["peak_mib"],
        float(recall),
        Spread.of(told["together"]),
        Spread.of(told["alone"]),
    )


def cells(one: Outcome) -> list[str]:
    figures = [f"{one.build_s:,.0f}", f"{one.held_mib:,.0f}", f"{one.recall:.4f}"]
    return [one.system, one.settings, *figures, number(one.together.median), number(one.alone.median)]


if __name__ == "__main__":
    main()
