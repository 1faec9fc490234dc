"""A run that was killed goes on where it was, and ends with the bytes of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedrouter.bulk import EmbedOptions, embed_file
from embedrouter.bulk.embed import wanted
from embedrouter.bulk.formats import source_place, target_place
from embedrouter.bulk.run import begin
from embedrouter.bulk.shard_files import embed_shard
from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM

from .encoders import FailingEncoder, HashEncoder
from .limits import largest_file

ROWS, SHARD = 205, 20
OPTIONS = EmbedOptions(quiet=True, shard_rows=SHARD, batch_rows=7)
TOLD = EmbedOptions(shard_rows=SHARD, batch_rows=7)

# Slow, so that there is a middle to be killed in.
SLOW = """
import sys, time
from bulk.encoders import HashEncoder
from embedrouter.bulk import EmbedOptions, embed_file

class Slow(HashEncoder):
    def encode(self, inputs, *, truncate=None):
        time.sleep(0.01)
        return super().encode(inputs, truncate=truncate)

Slow.__name__ = "HashEncoder"
embed_file(Slow(), sys.argv[1], sys.argv[2], EmbedOptions(shard_rows=20, batch_rows=7))
"""


def rows(count: int = ROWS) -> list[dict[str, object]]:
    return [{"id": n, "text": f"text {n} — ünï" + (" long" * (n % 5))} for n in range(count)]


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows()), path, row_group_size=33)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows()))
    elif suffix == ".csv":
        path.write_text("id,text\n" + "".join(f'{row["id"]},"{row["text"]}\n"\n\n' for row in rows()))
    else:
        path.write_text("".join(f"{row['text']}\n" for row in rows()))
    return path


def files(target: Path) -> dict[str, bytes]:
    """A file, or those of a folder, but for the manifest."""
    if target.is_dir():
        return {path.name: path.read_bytes() for path in sorted(target.iterdir()) if path.name[0] != "_"}
    return {target.name: target.read_bytes()}


def unbroken(source: Path, folder: Path, name: str) -> dict[str, bytes]:
    (folder / "unbroken").mkdir()
    target = folder / "unbroken" / name
    embed_file(HashEncoder(), source, f"{target}/" if "." not in name else target, OPTIONS)
    return files(target)


def manifest_of(target: Path) -> Path:
    return (target if "." not in target.name else target.with_name(f".{target.name}.parts")) / "_manifest.jsonl"


def done(target: Path) -> int:
    manifest = manifest_of(target)
    return len(manifest.read_bytes().splitlines()) - 1 if manifest.exists() else 0


def interrupted(source: Path, target: Path | str, after: int = 100, error: BaseException | None = None) -> None:
    with pytest.raises(type(error or KeyboardInterrupt())):
        embed_file(FailingAs(after, error or KeyboardInterrupt()), source, target, OPTIONS)


class FailingAs(FailingEncoder):
    """Known by the same name as the encoder that goes on."""


FailingAs.__name__ = "HashEncoder"


@pytest.mark.parametrize(("suffix", "name"), [(".parquet", "out.parquet"), (".csv", "out")])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path: Path, suffix: str, name: str) -> None:
    source, target = write(tmp_path, suffix), tmp_path / name
    given = f"{target}/" if name == "out" else str(target)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    for kill_at in (1, 3, 6):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(source), given], env=env)
        deadline = time.monotonic() + 30
        while done(target) < kill_at and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert done(target) >= kill_at
    encoder = HashEncoder()
    report = embed_file(encoder, source, given, OPTIONS)
    assert report.rows == ROWS
    assert report.resumed >= 6 * SHARD
    assert encoder.texts == ROWS - report.resumed
    assert files(target) == unbroken(source, tmp_path, name)
    assert not (tmp_path / f".{name}.parts").exists()


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".txt"])
@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl", "out.jsonl.gz", "out.npy"])
def test_every_format_goes_on(tmp_path: Path, suffix: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(tmp_path, suffix), tmp_path / name
    interrupted(source, target)
    before = done(target)
    assert 1 < before < 6
    assert not target.exists()
    report = embed_file(HashEncoder(), source, target, TOLD)
    assert f"resuming: {before} of 11 shards are done" in capsys.readouterr().err
    assert (report.rows, report.resumed) == (ROWS, before * SHARD)
    assert files(target) == unbroken(source, tmp_path, name)


def test_shards_can_be_done_in_any_order_and_elsewhere(tmp_path: Path) -> None:
    source = write(tmp_path, ".csv")
    for name in ("out.parquet", "out.npy"):
        encoder = HashEncoder()
        asked = wanted(encoder, (source_place(source, None),), target_place(tmp_path / name, None), OPTIONS)
        with begin(asked, batch_rows=50) as run:  # type: ignore[union-attr]
            for shard in reversed(run.left()):
                run.record(embed_shard(encoder, run.work, shard))
            run.finish()
        embed_file(encoder, source, tmp_path / f"plain-{name}", OPTIONS)
        assert (tmp_path / name).read_bytes() == (tmp_path / f"plain-{name}").read_bytes()


def test_a_folder_of_shards_is_a_dataset_and_is_made_once(tmp_path: Path) -> None:
    source = write(tmp_path, ".parquet")
    target = f"{tmp_path / 'out'}/"
    embed_file(HashEncoder(), source, target, OPTIONS)
    assert pq.read_table(target).drop_columns("embedding").to_pylist() == rows()
    again = HashEncoder()
    assert embed_file(again, source, target, OPTIONS).resumed == ROWS
    assert again.texts == 0
    embed_file(again, source, tmp_path / "out", EmbedOptions(quiet=True, shard_rows=100, overwrite=True))
    assert again.texts == ROWS
    assert sorted(files(tmp_path / "out")) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InvalidRequestError, match="has other files in it"):
        embed_file(HashEncoder(), write(tmp_path, ".txt"), f"{tmp_path / 'out'}/", OPTIONS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (EmbedOptions(quiet=True, shard_rows=10), "--shard-rows 20, and this has --shard-rows 10"),
        (
            EmbedOptions(quiet=True, shard_rows=SHARD, vectors_type="float16"),
            "--vectors-type float32, and this has --vectors-type float16",
        ),
        (EmbedOptions(quiet=True, shard_rows=SHARD, truncate=True), "no --truncate, and this has --truncate:"),
    ],
)
def test_other_options_are_refused(tmp_path: Path, changed: EmbedOptions, said: str) -> None:
    source, target = write(tmp_path, ".jsonl"), tmp_path / "out.parquet"
    interrupted(source, target)
    before = done(target)
    with pytest.raises(InvalidRequestError, match=f"{said}.*--restart"):
        embed_file(HashEncoder(), source, target, changed)
    assert done(target) == before


def test_another_model_is_refused(tmp_path: Path) -> None:
    class OtherEncoder(HashEncoder):
        pass

    source, target = write(tmp_path, ".jsonl"), tmp_path / "out.parquet"
    interrupted(source, target)
    with pytest.raises(
        InvalidRequestError, match="the model HashEncoder, and this has the model OtherEncoder.*--restart"
    ):
        embed_file(OtherEncoder(), source, target, OPTIONS)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".txt"])
def test_rows_that_changed_are_refused_until_restarted(tmp_path: Path, suffix: str) -> None:
    source, target = write(tmp_path, suffix), tmp_path / "out.parquet"
    interrupted(source, target)
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{**row, "text": f"other {row['id']}"} for row in rows()]), source)
    else:
        source.write_text(source.read_text().replace("text 1 ", "text X "))
    with pytest.raises(InvalidRequestError, match="have changed since; begin anew with --restart"):
        embed_file(HashEncoder(), source, target, OPTIONS)
    encoder = HashEncoder()
    embed_file(encoder, source, target, EmbedOptions(quiet=True, shard_rows=SHARD, restart=True))
    assert encoder.texts == ROWS
    assert files(target) == unbroken(source, tmp_path, target.name)


def test_a_mended_row_does_not_undo_what_stands_before_it(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    bad = [{**row, "text": "" if row["id"] == 150 else row["text"]} for row in rows()]
    source.write_text("".join(json.dumps(row) + "\n" for row in bad))
    with pytest.raises(InvalidRequestError, match=r"line 151 is empty.*7 of 11 shards are done.*goes on from row 141"):
        embed_file(HashEncoder(), source, target, OPTIONS)
    source.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    assert embed_file(HashEncoder(), source, target, OPTIONS).resumed == 140
    assert files(target) == unbroken(source, tmp_path, target.name)


def test_leaving_empty_rows_out_may_be_decided_later(tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table = pa.Table.from_pylist([{**row, "text": None if row["id"] == 150 else row["text"]} for row in rows()])
    pq.write_table(table, source)
    with pytest.raises(InvalidRequestError, match=r"row 151 has no text.*goes on from row 141"):
        embed_file(HashEncoder(), source, target, OPTIONS)
    report = embed_file(
        HashEncoder(), source, target, EmbedOptions(quiet=True, shard_rows=SHARD, batch_rows=7, on_empty="skip")
    )
    assert (report.rows, report.skipped, report.resumed) == (ROWS - 1, 1, 140)
    assert pq.read_table(target)["id"].to_pylist() == [n for n in range(ROWS) if n != 150]


def test_a_manifest_cut_short_and_a_lost_shard_are_made_good(tmp_path: Path) -> None:
    source, target = write(tmp_path, ".csv"), tmp_path / "out.parquet"
    interrupted(source, target)
    manifest = manifest_of(target)
    before = done(target)
    manifest.write_bytes(manifest.read_bytes()[:-20])
    (manifest.parent / "part-00000.parquet").unlink()
    report = embed_file(HashEncoder(), source, target, OPTIONS)
    assert report.resumed == (before - 2) * SHARD
    assert files(target) == unbroken(source, tmp_path, target.name)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    source, target = write(tmp_path, ".txt"), tmp_path / "out.npy"
    asked = wanted(HashEncoder(), (source_place(source, None),), target_place(target, None), OPTIONS)
    with begin(asked), pytest.raises(InvalidRequestError, match="another run is writing"):  # type: ignore[union-attr]
        embed_file(HashEncoder(), source, target, OPTIONS)


def test_a_full_disk_costs_nothing_that_is_done(tmp_path: Path) -> None:
    source, target = write(tmp_path, ".parquet"), tmp_path / "out.parquet"
    said = r"cannot write .*out.parquet: File too large \(all shards are done and kept"
    with largest_file(100_000), pytest.raises(InvalidRequestError, match=said):
        embed_file(HashEncoder(), source, target, OPTIONS)  # a shard has 31,000 bytes, all of them have 320,000
    assert done(target) == 11
    encoder = HashEncoder()
    embed_file(encoder, source, target, OPTIONS)
    assert encoder.texts == 0
    assert files(target) == unbroken(source, tmp_path, target.name)


def test_a_damaged_page_is_told_and_costs_nothing_that_is_done(tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.Table.from_pylist(rows()), source, row_group_size=20, compression="zstd", use_dictionary=False)
    at = pq.read_metadata(source).row_group(8).column(1).data_page_offset
    data = bytearray(source.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    source.write_bytes(data)
    with pytest.raises(InvalidRequestError, match=r"cannot read .*in.parquet past row 1\d\d.*shards are done and kept"):
        embed_file(HashEncoder(), source, target, OPTIONS)
    assert done(target) >= 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_no_permission_is_said(tmp_path: Path) -> None:
    source = write(tmp_path, ".txt")
    source.chmod(0)
    with pytest.raises(InvalidRequestError, match="cannot read .*in.txt: Permission denied"):
        embed_file(HashEncoder(), source, tmp_path / "out.npy", OPTIONS)


def test_several_files_are_one_input(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for part in range(3):
        pq.write_table(pa.Table.from_pylist(rows()[part * 70 : part * 70 + 70]), folder / f"{part}.parquet")
    for given, name in ((folder, "a.parquet"), (f"file://{folder}/*.parquet", "b.parquet")):
        interrupted(given, tmp_path / name)  # type: ignore[arg-type]
        report = embed_file(HashEncoder(), given, tmp_path / name, OPTIONS)
        assert report.resumed
        assert pq.read_table(tmp_path / name).drop_columns("embedding").to_pylist() == rows()
    pq.write_table(pa.table({"text": ["a"]}), folder / "9.parquet")
    with pytest.raises(InvalidRequestError, match="9.parquet has other columns"):
        embed_file(HashEncoder(), folder, tmp_path / "c.parquet", OPTIONS)


def test_the_real_model_ends_with_the_same_bytes(tmp_path: Path, model: MiniLM) -> None:
    class Counting(HashEncoder):
        def encode(self, inputs, *, truncate=None):  # type: ignore[no-untyped-def]
            self.texts += len(inputs)
            if self.texts > self.most:
                raise KeyboardInterrupt
            return model.encode(inputs, truncate=truncate)

        most = 60

    source = write(tmp_path, ".jsonl")
    with pytest.raises(KeyboardInterrupt):
        embed_file(Counting(), source, tmp_path / "out.parquet", OPTIONS)
    assert done(tmp_path / "out.parquet")
    Counting.most = ROWS
    embed_file(Counting(), source, tmp_path / "out.parquet", OPTIONS)
    embed_file(
        Counting(), source, tmp_path / "plain.parquet", EmbedOptions(quiet=True, shard_rows=SHARD, batch_rows=50)
    )
    broken, plain = pq.read_table(tmp_path / "out.parquet"), pq.read_table(tmp_path / "plain.parquet")
    if model.engine.pads:  # neighbours in a batch change the last bits
        assert broken.drop_columns("embedding").equals(plain.drop_columns("embedding"))
    else:
        assert broken.equals(plain)
