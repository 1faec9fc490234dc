"""Near duplicates among many rows: time, memory, and which of the planted pairs and of all true pairs are found.

    python benchmarks/dedupe.py                    1,000,000 rows
    python benchmarks/dedupe.py --count 50000 --divided

Rows are float16 in a memory-mapped file. A tenth are copies of others, turned by a random angle up to the threshold.
Recall is that of the planted pairs, and of all pairs of a random sample of rows, each compared with every row; of
those that were put into a group, the precision is the share that truly has a near one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import RESULTS, announce, machine, save, table
from embedrouter.tasks.dedupe import deduplicate
from embedrouter.tasks.pairs import likely_pairs
from embedrouter.tasks.rows import ArrayRows
from embedrouter.tasks.unions import Unions
from index_worker import peak_mib
from texts import add_data_argument
from vectors import mixed, real_vectors

_SEED = 3
_SAMPLE = 2_000
_BLOCK = 16_384


def plant(vectors: NDArray[np.float32], threshold: float, share: float) -> NDArray[np.int64]:
    """Turn some rows into near copies of others; returns the pairs (n, 2) as they are after that."""
    random = np.random.default_rng(_SEED)
    copies = int(share * len(vectors))
    rows = random.permutation(len(vectors))[: 2 * copies].reshape(2, copies)
    aside = vectors[random.integers(0, len(vectors), copies)] - vectors[random.integers(0, len(vectors), copies)]
    source = vectors[rows[0]]
    aside -= (aside * source).sum(axis=1, keepdims=True) * source
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    cosine = random.uniform(threshold + 0.002, 1.0, (copies, 1)).astype(np.float32)
    vectors[rows[1]] = cosine * source + np.sqrt(1 - cosine**2) * aside
    pairs: NDArray[np.int64] = np.sort(rows.T, axis=1)
    return pairs


def true_pairs(rows: ArrayRows, sample: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """All pairs (n, 2) of the sampled rows with every row."""
    vectors = rows.take(sample)
    found = []
    for numbers, block in rows.blocks(_BLOCK):
        one, other = np.nonzero(vectors @ block.T >= threshold)
        found.append(np.stack((sample[one], numbers[other]), axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def work(path: Path, threshold: float, divided: bool) -> None:
    """The measured process: duplicates of a file, its own time and memory as JSON."""
    vectors = np.load(path, mmap_mode="r")
    started, cpu = time.monotonic(), time.process_time()
    if divided:
        unions = Unions(len(vectors))
        for pairs in likely_pairs(ArrayRows(vectors, "row"), threshold, unions.apart):
            unions.join(pairs.left, pairs.right)
        of = unions.roots()
    else:
        of = deduplicate(vectors, threshold=threshold).of
    seconds, busy = time.monotonic() - started, time.process_time() - cpu
    anonymous = next(
        int(line.split()[1]) / 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )
    np.save(path.with_name("of.npy"), of)
    print(json.dumps({"seconds": seconds, "cpu_s": busy, "peak_mib": peak_mib(), "held_mib": anonymous}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--divided", action="store_true", help="as for more rows than are compared each with each")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    add_data_argument(parser)
    given = parser.parse_args()
    if given.work:
        work(given.work, given.threshold, given.divided)
        return
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        vectors = mixed(real_vectors(given.data, RESULTS / "real-vectors.npy"), given.count)
        planted = plant(vectors, given.threshold, 0.1)
        np.save(path, vectors.astype(np.float16))
        del vectors
        command = [sys.executable, __file__, "--work", str(path), "--threshold", str(given.threshold)]
        command += ["--divided"] if given.divided else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        of = np.load(path.with_name("of.npy"))
        rows = ArrayRows(np.load(path, mmap_mode="r"), "row")
        sample = np.sort(np.random.default_rng(_SEED).choice(len(rows), min(_SAMPLE, len(rows)), replace=False))
        sampled = true_pairs(rows, sample, given.threshold)
    grouped = sample[np.bincount(of, minlength=len(of))[of[sample]] > 1]
    precision = float(np.isin(grouped, sampled).mean()) if len(grouped) else 1.0
    recall = {
        "planted": float(np.mean(of[planted[:, 0]] == of[planted[:, 1]])),
        "sampled": float(np.mean(of[sampled[:, 0]] == of[sampled[:, 1]])),
    }
    left_out = int((of != np.arange(len(of))).sum())
    figures = [f"{told['seconds']:,.0f}", f"{told['cpu_s']:,.0f}", f"{told['peak_mib']:,.0f}"]
    figures += [f"{recall['planted']:.5f} of {len(planted):,}", f"{recall['sampled']:.5f} of {len(sampled):,}"]
    figures += [f"{precision:.5f} of {len(grouped):,}"]
    headings = [
        "rows",
        "seconds",
        "CPU s",
        "peak MiB, file pages included",
        "planted pairs",
        "pairs of a sample",
        "rightly grouped",
    ]
    print(table([*headings, "left out"], [[f"{given.count:,}", *figures, f"{left_out:,}"]]))
    save(
        f"dedupe-{given.count}",
        {"machine": facts, "threshold": given.threshold, **told, "recall": recall, "precision": precision},
    )


if __name__ == "__main__":
    main()
