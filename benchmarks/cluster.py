"""Two nodes of a Ray cluster beside one, on this machine: a node is a core, with all that runs on it.

    python benchmarks/cluster.py                          some five minutes on two free cores
    python benchmarks/cluster.py --shards 16 --rows 64 --rounds 1        to try

Each node's processes are held on one core: Ray's own, the worker, and on the first node also the driver that writes
the manifest. The rate is that of the middle of a run, when every worker has shards and none has just begun. Rounds of
one node and of two alternate.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from common import DATA, Spread, announce, machine, number, save, table
from embedrouter.bulk import EmbedOptions
from embedrouter.bulk.cluster import ClusterOptions, hired
from embedrouter.bulk.cluster_worker import AT_ONCE, Loading
from embedrouter.bulk.embed import begin_with, places
from embedrouter.settings import load as load_settings
from texts import CORPORA, load

TARGET = 1.8
TICK = os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """One run's middle."""

    rows_per_second: float
    others: float  # cores that all but the workers kept busy
    seconds: float  # of the whole run, with starting and joining


class Sample(NamedTuple):
    at: float
    others: float  # CPU seconds so far


@contextmanager
def held_on(core: int) -> Iterator[None]:
    """What is started meanwhile stays on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def others() -> float:
    """CPU seconds of this process and of Ray's below it, without the workers."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            working = (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker")
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = 0.0 if working else (int(fields[11]) + int(fields[12])) / TICK
    return sum(seconds for process, seconds in used.items() if _is_ours(process, parents))


def _is_ours(process: int, parents: dict[int, int]) -> bool:
    while process > 1 and process != os.getpid():
        process = parents.get(process, 0)
    return process == os.getpid()


def measure(address: str, source: Path, nodes: int, options: EmbedOptions) -> Round:
    """One run on so many nodes."""
    started = time.perf_counter()
    samples: list[Sample] = []
    origins, goal = places(source, source.with_name("out.parquet"), options)
    with hired(ClusterOptions(address), Loading.of(load_settings({}, os.environ))) as crew:
        assert (crew.layout.workers, crew.layout.cores) == (nodes, 1)
        run = begin_with(crew, origins, goal, options, always=True)
        assert run is not None
        with run:
            for done in crew.embed(run.work, run.left()):
                run.record(done)
                samples.append(Sample(time.perf_counter(), others()))
            run.finish()
    busy = 2 * AT_ONCE * nodes
    first, last = samples[busy - 1], samples[-1 - AT_ONCE * nodes]
    seconds = last.at - first.at
    shards = len(samples) - busy - AT_ONCE * nodes
    rate = shards * options.shard_rows / seconds
    return Round(rate, (last.others - first.others) / seconds, time.perf_counter() - started)


def write_texts(path: Path, corpus: str, rows: int, data: Path) -> None:
    """So many rows, none twice: identical texts in flight would be computed once."""
    known = [one.text for one in load(corpus, data)]
    texts = [f"{known[i % len(known)]} {i // len(known)}" for i in range(rows)]
    random.Random(1).shuffle(texts)
    pq.write_table(pa.table({"id": range(rows), "text": texts}), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--corpus", choices=CORPORA[:-1], default="sentences")
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--rows", type=int, default=1024, help="of a shard")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.shards < 8 * AT_ONCE:
        parser.error(f"--shards: at least {8 * AT_ONCE}, so that there is a middle")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("this needs two cores")

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    facts = machine()
    announce(facts)
    nodes: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    chosen = EmbedOptions(shard_rows=options.rows, overwrite=True, quiet=True)
    found: dict[int, list[Round]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder, held_on(cores[0]):
        source = Path(folder) / "in.parquet"
        write_texts(source, options.corpus, options.shards * options.rows, options.data)
        cluster = Cluster(initialize_head=True, head_node_args=nodes)
        try:
            for _ in range(options.rounds):
                found[1].append(measure(cluster.address, source, 1, chosen))
                with held_on(cores[1]):
                    second = cluster.add_node(**nodes)
                found[2].append(measure(cluster.address, source, 2, chosen))
                cluster.remove_node(second)
                one, two = found[1][-1], found[2][-1]
                ratio = two.rows_per_second / one.rows_per_second
                print(f"{one.rows_per_second:,.0f} rows/s, {two.rows_per_second:,.0f} rows/s: {ratio:.2f}x", flush=True)
        finally:
            cluster.shutdown()

    rates = {count: Spread.of([one.rows_per_second for one in rounds]) for count, rounds in found.items()}
    ratios = Spread.of([two.rows_per_second / one.rows_per_second for one, two in zip(found[1], found[2], strict=True)])
    rows = [
        [
            f"{count} of one core",
            str(rates[count]),
            f"{rates[count].median / rates[1].median:.2f}x",
            number(statistics.median(one.others for one in rounds)),
            number(statistics.median(one.seconds for one in rounds)),
        ]
        for count, rounds in found.items()
    ]
    print()
    print(table(["nodes", "rows/s, median (min-max)", "to one", "cores beside the workers", "whole run, s"], rows))
    verdict = "met" if ratios.median >= TARGET else "missed"
    print(f"{facts['cpu']}: two nodes {ratios.median:.2f}x one (rounds side by side); target {TARGET}x {verdict}")
    save(
        "cluster",
        {
            "machine": facts,
            "corpus": options.corpus,
            "shards": options.shards,
            "shard_rows": options.rows,
            "rounds": found,
            "ratio": ratios,
        },
    )


if __name__ == "__main__":
    main()
