"""Memory does not grow with the file: the same peak for ten times the rows."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# In a process of its own, as the peak of a process never falls. Prints the peak in KiB: from /proc, as the peak that
# getrusage tells includes that of the process it was started from.
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from embedrouter.bulk import EmbedOptions, embed_file

class Encoder:
    dimensions = 384
    def encode(self, inputs, *, truncate=None):
        return np.full((len(inputs), 384), 384 ** -0.5, np.float32)

options = EmbedOptions(quiet=True, overwrite=True, column=sys.argv[3] or None, shard_rows=4096, batch_rows=1024)
embed_file(Encoder(), sys.argv[1], sys.argv[2], options)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
FEW, MANY = 20_000, 200_000
ALLOWED_KIB = 24 << 10  # of growth; the vectors alone of the larger file are 293 MiB, its texts some 40 MiB


def write(path: Path, rows: int) -> Path:
    texts = (f"row {n}: " + "some words that make it as long as a title and more. " * 4 for n in range(rows))
    if path.suffix == ".parquet":
        # One row group, as some tools write whole tables.
        pq.write_table(pa.table({"text": list(texts)}), path, row_group_size=rows, compression="zstd")
        return path
    with path.open("w") as stream:
        for text in texts:
            stream.write(f'{{"text": "{text}"}}\n' if path.suffix == ".jsonl" else f"{text}\n")
    return path


def peak_kib(source: Path, target: Path, column: str) -> int:
    command = [sys.executable, "-c", SCRIPT, str(source), str(target), column]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("source", "target", "column"),
    [("in.txt", "out.npy", ""), ("in.jsonl", "out.parquet", "text"), ("in.parquet", "out.parquet", "text")],
)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, source: str, target: str, column: str) -> None:
    few, many = write(tmp_path / f"few-{source}", FEW), write(tmp_path / f"many-{source}", MANY)
    grown: list[int] = []
    # How far its threads are ahead of each other is chance, and moves a peak by 20 MiB; what is held always shows.
    while not grown or (min(grown) >= ALLOWED_KIB and len(grown) < 4):
        before = peak_kib(few, tmp_path / target, column)
        assert before > 0
        grown.append(peak_kib(many, tmp_path / target, column) - before)
    assert min(grown) < ALLOWED_KIB
