"""`embedrouter embed` on Parquet, beside the engine's own rate; and killed again and again, beside a run that was not.

    python benchmarks/bulk_files.py                           rate of 200,000 rows, beside encode() of the same texts
    python benchmarks/bulk_files.py --rows 1000000 --kill 10  kill -9 ten times; compare the outputs row for row
    python benchmarks/bulk_files.py --rows 10000000 --distinct 100000   files as large as they get, with --dedupe

Rates are those of the work: neither loads the model. The two alternate, and each pair gives a ratio. Where others use
the machine, the ratio of CPU seconds a row tells more than that of the rates.
"""

import argparse
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import announce, machine, model_folder, number, save, table
from embedrouter.minilm import MiniLM
from texts import SEED, add_data_argument, sample

_ROWS_PER_GROUP = 65_536


class Cost(NamedTuple):
    """Of one run over all rows."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


class Difference(NamedTuple):
    """Between two outputs."""

    rows: int
    other_rows: int  # whose columns differ
    other_vectors: int  # that are not the same to the bit
    largest: float  # difference of two numbers


def make_input(path: Path, rows: int, corpus: str, data: Path) -> list[str]:
    """Real texts; each time round a number makes them others, so that nothing is computed once for two rows."""
    own = sample(corpus, rows, data)
    texts = [text if n < len(own) else f"{text} ({n // len(own)})" for n, text in zip(range(rows), cycle(own))]
    random.Random(SEED).shuffle(texts)
    columns = {"id": pa.array(range(rows), pa.int64()), "text": pa.array(texts, pa.string())}
    pq.write_table(pa.table(columns), path, row_group_size=_ROWS_PER_GROUP)
    return texts


def make_repeating_input(path: Path, rows: int, texts: list[str]) -> None:
    """The texts again and again, a row group at a time."""
    columns = {"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}
    with pq.ParquetWriter(path, pa.table(columns).schema) as writer:
        for start in range(0, rows, _ROWS_PER_GROUP):
            ids = range(start, min(rows, start + _ROWS_PER_GROUP))
            columns["id"] = pa.array(ids, pa.int64())
            columns["text"] = pa.array([texts[one % len(texts)] for one in ids], pa.string())
            writer.write_table(pa.table(columns))


def repeating(source: Path, target: Path, rows: int, distinct: int) -> dict[str, object]:
    """The whole road of many rows, whose texts are few so that the engine is not all there is to wait for."""
    cost = embedded(source, target, "--dedupe", "--vectors-type", "float16")
    found = pq.ParquetFile(target).metadata.num_rows
    if found != rows:
        sys.exit(f"{found:,} of {rows:,} rows are there")
    gib = target.stat().st_size / 2**30
    print(
        f"{rows:,} rows, {distinct:,} distinct texts: {cost.seconds:,.0f} s, {number(rows / cost.seconds)} rows/s, "
        f"peak {cost.peak_mib:,.0f} MiB; {gib:.1f} GiB written"
    )
    return {"distinct": distinct, "cost": cost._asdict(), "gib": gib}


def command(source: Path, target: Path, *options: str) -> list[str]:
    model = ["--model-dir", str(model_folder())] if os.environ.get("EMBEDROUTER_MODEL_DIR") else []
    return [
        sys.executable,
        "-c",
        "from embedrouter.cli import main; main()",
        "embed",
        str(source),
        "-o",
        str(target),
        *model,
        *options,
    ]


def embedded(source: Path, target: Path, *options: str) -> Cost:
    """One run of the command. Its CPU seconds are those of all of it, with loading the model."""
    process = subprocess.Popen(command(source, target, "--overwrite", *options), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r" in ([\d.]+) s", said)
    if process.returncode or not found:
        sys.exit(said)
    return Cost(float(found[1]), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def encoded(model: MiniLM, texts: list[str]) -> Cost:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    model.encode(texts)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, after.ru_maxrss / 1024)


def loading(source: Path, folder: Path) -> float:
    """CPU seconds of the command that are not for the rows."""
    pq.write_table(pq.read_table(source).slice(0, 1), folder / "one.parquet")
    return min(embedded(folder / "one.parquet", folder / "one-out.parquet").cpu_seconds for _ in range(2))


def rates(source: Path, texts: list[str], folder: Path, rounds: int) -> dict[str, object]:
    chosen = os.environ.get("EMBEDROUTER_MODEL_DIR")
    start = loading(source, folder)
    pairs: list[tuple[Cost, Cost]] = []
    with MiniLM(chosen) as model:
        model.encode(texts[:2048])
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", flush=True)
            pairs.append((encoded(model, texts), embedded(source, folder / "out.parquet")))
    rows = len(texts)
    ratios = [offline.seconds / bulk.seconds for offline, bulk in pairs]
    cpu = [offline.cpu_seconds / (bulk.cpu_seconds - start) for offline, bulk in pairs]
    peak = max(bulk.peak_mib for _, bulk in pairs)
    shown = [
        ["encode() in memory", *(number(rows / offline.seconds) for offline, _ in pairs)],
        ["embed, Parquet to Parquet", *(number(rows / bulk.seconds) for _, bulk in pairs)],
        ["ratio", *(f"{ratio:.3f}" for ratio in ratios)],
        ["ratio of CPU seconds", *(f"{ratio:.3f}" for ratio in cpu)],
    ]
    print(table(["rows/s", *(f"round {turn + 1}" for turn in range(rounds))], shown))
    print(f"median ratio {statistics.median(ratios):.3f}, of CPU {statistics.median(cpu):.3f}; peak {peak:,.0f} MiB")
    return {"ratio": statistics.median(ratios), "cpu_ratio": statistics.median(cpu), "peak_mib": peak, "pairs": pairs}


def killed(source: Path, folder: Path, rows: int, times: int, shard_rows: int) -> dict[str, object]:
    """The command, killed at random moments, until it ends by itself."""
    whole, target = folder / "whole.parquet", folder / "killed.parquet"
    print("a run that is not killed", flush=True)
    cost = embedded(source, whole, "--shard-rows", str(shard_rows))
    shards = -(-rows // shard_rows)
    luck = random.Random()
    moments = sorted(luck.uniform(0, shards - 1) for _ in range(times))
    a_shard = cost.seconds / shards
    manifest = folder / f".{target.name}.parts" / "_manifest.jsonl"
    for turn, moment in enumerate(moments):
        process = subprocess.Popen(
            command(source, target, "--shard-rows", str(shard_rows), "--quiet"), start_new_session=True
        )
        while _done(manifest) < int(moment) and process.poll() is None:
            time.sleep(0.005)
        time.sleep((moment % 1) * a_shard)
        if process.poll() is not None:
            sys.exit(f"it ended before kill {turn + 1}: take more rows")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"kill {turn + 1} of {times}: {_done(manifest):,} of {shards:,} shards are done", flush=True)
    last = embedded(source, target, "--shard-rows", str(shard_rows))
    found = compared(whole, target)
    print(
        f"{found.rows:,} rows, killed {times} times: {found.other_rows:,} rows and {found.other_vectors:,} vectors "
        f"differ (at most by {found.largest:.2g}); the last run took {last.seconds:.0f} of {cost.seconds:.0f} s"
    )
    return {"shards": shards, "difference": found._asdict(), "unbroken": cost._asdict(), "last": last._asdict()}


def _done(manifest: Path) -> int:
    return manifest.read_bytes().count(b"\n") - 1 if manifest.exists() else 0


def compared(left: Path, right: Path) -> Difference:
    """Row for row, a piece at a time."""
    one, other = pq.ParquetFile(left), pq.ParquetFile(right)
    if one.metadata.num_rows != other.metadata.num_rows:
        sys.exit(f"{one.metadata.num_rows:,} and {other.metadata.num_rows:,} rows")
    rows = others = vectors = 0
    largest = 0.0
    for mine, yours in zip(one.iter_batches(8192), other.iter_batches(8192), strict=True):
        rows += mine.num_rows
        if not mine.drop_columns(["embedding"]).equals(yours.drop_columns(["embedding"])):
            others += sum(a != b for a, b in zip(_rows(mine), _rows(yours), strict=True))
        a, b = _vectors(mine), _vectors(yours)
        vectors += int((a.view(np.uint32) != b.view(np.uint32)).any(axis=1).sum())
        largest = max(largest, float(np.abs(a - b).max()))
    return Difference(rows, others, vectors, largest)


def _rows(batch: pa.RecordBatch) -> list[dict[str, object]]:
    return batch.drop_columns(["embedding"]).to_pylist()


def _vectors(batch: pa.RecordBatch) -> np.ndarray:
    column = batch.column("embedding")
    return np.stack(list(column.to_numpy(zero_copy_only=False)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_argument(parser)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", default="sentences", help="one of texts.py")
    parser.add_argument("--kill", type=int, default=0, help="times to kill, instead of measuring the rate")
    parser.add_argument("--distinct", type=int, default=0, help="texts that the rows share, instead of the rate")
    parser.add_argument("--shard-rows", type=int, default=16_384, help="with --kill")
    parser.add_argument("--folder", type=Path, help="where the files go while it runs")
    given = parser.parse_args()
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        source = folder / "in.parquet"
        texts = make_input(source, given.distinct or given.rows, given.corpus, given.data)
        if given.distinct:
            kind = "bulk-repeating"
            make_repeating_input(source, given.rows, texts)
            found = repeating(source, folder / "out.parquet", given.rows, len(texts))
        elif given.kill:
            kind = "bulk-kill"
            found = killed(source, folder, given.rows, given.kill, given.shard_rows)
        else:
            kind = "bulk"
            found = rates(source, texts, folder, given.rounds)
    save(kind, {"machine": facts, "rows": given.rows, **found})


if __name__ == "__main__":
    main()
