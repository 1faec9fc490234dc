"""Each format out: which columns and vectors are written, and that they are whole or absent."""

import gc
import gzip
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedrouter.bulk import EmbedOptions, embed_file
from embedrouter.errors import ContextLengthExceededError, EmbedRouterError, InvalidRequestError

from .encoders import FailingEncoder, HashEncoder, PickyEncoder, vector_of, vectors_of
from .limits import largest_file

QUIET = EmbedOptions(quiet=True)
FOUR = EmbedOptions(quiet=True, batch_rows=4)
TEXTS = [f"text {n} — ünï" for n in range(10)]
_EMBED_IN_ANOTHER = (
    sys.executable,
    "-c",
    "import sys, numpy as np\n"
    "from embedrouter.bulk import EmbedOptions, embed_file\n"
    "class Encoder:\n"
    "    dimensions = 384\n"
    "    def encode(self, inputs, *, truncate=None): return np.zeros((len(inputs), 384), np.float32)\n"
    "embed_file(Encoder(), sys.argv[1], '-', EmbedOptions(quiet=True))\n",
)


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = [{"id": n, "text": text, "meta": {"tags": ["a"] * n}} for n, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def vectors_in(table: pa.Table) -> np.ndarray:
    return np.array(table["embedding"].to_pylist(), np.float32)


class TestParquet:
    def test_keeps_all_columns_and_their_types(self, tmp_path: Path, encoder: HashEncoder) -> None:
        table = pa.table(
            {
                "id": pa.array(range(10), pa.int16()),
                "when": pa.array(range(10), pa.timestamp("ns", "UTC")),
                "tags": [["a", None]] * 10,
                "kind": pa.array(["x", "y"] * 5).dictionary_encode(),
                "text": TEXTS,
            }
        ).replace_schema_metadata({"made by": "a test"})
        pq.write_table(table, tmp_path / "in.parquet", row_group_size=3)
        embed_file(encoder, tmp_path / "in.parquet", tmp_path / "out.parquet", FOUR)
        out = pq.read_table(tmp_path / "out.parquet")
        assert out.schema.field("embedding").type == pa.list_(pa.float32(), 384)
        assert out.drop_columns("embedding").equals(table)
        assert (out.schema.metadata or {})[b"made by"] == b"a test"
        np.testing.assert_array_equal(vectors_in(out), vectors_of(TEXTS))

    def test_from_jsonl_finds_types_anywhere_in_the_file(self, tmp_path: Path, encoder: HashEncoder) -> None:
        rows = [
            {"text": "a", "n": 1, "s": None},
            {"text": "b", "n": 2, "s": None},
            {"text": "c", "n": 2.5, "s": "late", "more": {"x": [1]}},
        ]
        (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
        options = EmbedOptions(quiet=True, batch_rows=1)
        embed_file(encoder, tmp_path / "in.jsonl", tmp_path / "out.parquet", options)
        out = pq.read_table(tmp_path / "out.parquet")
        assert out.column_names == ["text", "n", "s", "more", "embedding"]
        assert out.drop_columns("embedding").to_pylist() == [
            {"text": "a", "n": 1.0, "s": None, "more": None},
            {"text": "b", "n": 2.0, "s": None, "more": None},
            {"text": "c", "n": 2.5, "s": "late", "more": {"x": [1]}},
        ]

    @pytest.mark.parametrize("batch_rows", [1, 10])
    def test_from_jsonl_with_two_types_in_a_field(self, tmp_path: Path, batch_rows: int) -> None:
        (tmp_path / "in.jsonl").write_text('{"text": "a", "n": 1}\n{"text": "b", "n": "two"}\n')
        encoder = HashEncoder()
        with pytest.raises(InvalidRequestError, match=r"one type: write JSONL.*\bn\b"):
            embed_file(
                encoder,
                tmp_path / "in.jsonl",
                tmp_path / "out.parquet",
                EmbedOptions(quiet=True, batch_rows=batch_rows),
            )
        assert encoder.texts == 0  # said before the work, not after

    def test_from_jsonl_leaves_out_the_rows_without_text(self, tmp_path: Path, encoder: HashEncoder) -> None:
        (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "", "id": 2}\n{"text": "c", "id": 3}\n')
        embed_file(encoder, tmp_path / "in.jsonl", tmp_path / "out.parquet", EmbedOptions(quiet=True, on_empty="skip"))
        out = pq.read_table(tmp_path / "out.parquet")
        assert out["id"].to_pylist() == [None, 3]
        np.testing.assert_array_equal(vectors_in(out), vectors_of(["a", "c"]))

    def test_from_csv_all_columns_are_texts(self, tmp_path: Path, encoder: HashEncoder) -> None:
        (tmp_path / "in.csv").write_text('id,text\n007,"a\nb"\n008,c\n')
        embed_file(encoder, tmp_path / "in.csv", tmp_path / "out.parquet", EmbedOptions(quiet=True, column="text"))
        out = pq.read_table(tmp_path / "out.parquet").drop_columns("embedding")
        assert out.to_pylist() == [{"id": "007", "text": "a\nb"}, {"id": "008", "text": "c"}]

    @pytest.mark.parametrize(
        ("name", "data"), [("in.txt", ""), ("in.jsonl", ""), ("in.csv", "a,text\n"), ("in.csv", "")]
    )
    def test_of_an_empty_file(self, tmp_path: Path, encoder: HashEncoder, name: str, data: str) -> None:
        (tmp_path / name).write_text(data)
        report = embed_file(encoder, tmp_path / name, tmp_path / "out.parquet", QUIET)
        out = pq.read_table(tmp_path / "out.parquet")
        assert report.rows == out.num_rows == 0
        assert out.schema.field("embedding").type == pa.list_(pa.float32(), 384)

    def test_row_groups_are_larger_than_batches(self, tmp_path: Path, encoder: HashEncoder, jsonl: Path) -> None:
        embed_file(encoder, jsonl, tmp_path / "out.parquet", EmbedOptions(quiet=True, batch_rows=2))
        assert pq.read_metadata(tmp_path / "out.parquet").num_row_groups == 1


class TestJsonl:
    @pytest.mark.parametrize("name", ["out.jsonl", "out.ndjson", "out.jsonl.gz"])
    def test_keeps_all_fields(self, tmp_path: Path, encoder: HashEncoder, jsonl: Path, name: str) -> None:
        embed_file(encoder, jsonl, tmp_path / name, FOUR)
        data = (tmp_path / name).read_bytes()
        lines = (gzip.decompress(data) if name.endswith(".gz") else data).splitlines()
        for line, original, text in zip(lines, jsonl.read_text().splitlines(), TEXTS, strict=True):
            row = json.loads(line)
            assert list(row)[-1] == "embedding"
            np.testing.assert_array_equal(np.array(row.pop("embedding"), np.float32), vector_of(text))
            assert row == json.loads(original)

    def test_changes_no_number_and_no_order(self, tmp_path: Path, encoder: HashEncoder) -> None:
        line = b'{"z": 1.0, "id": 123456789012345678901234567890, "text": "a" , "e": 1e5 }'
        (tmp_path / "in.jsonl").write_bytes(line + b"\n")
        embed_file(encoder, tmp_path / "in.jsonl", tmp_path / "out.jsonl", QUIET)
        assert (tmp_path / "out.jsonl").read_bytes().startswith(line[:-1] + b',"embedding":[')

    def test_leaves_out_the_rows_without_text(self, tmp_path: Path, encoder: HashEncoder) -> None:
        (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "", "id": 2}\n{"text": "c", "id": 3}\n')
        embed_file(encoder, tmp_path / "in.jsonl", tmp_path / "out.jsonl", EmbedOptions(quiet=True, on_empty="skip"))
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [row["text"] for row in rows] == ["a", "c"]
        np.testing.assert_array_equal(np.array(rows[1]["embedding"], np.float32), vector_of("c"))

    def test_from_parquet(self, tmp_path: Path, encoder: HashEncoder) -> None:
        table = pa.table(
            {
                "text": ["a"],
                "price": [Decimal("1.50")],
                "raw": [b"\x00\xff"],
                "tags": [["x", None]],
                "at": pa.array([1], pa.timestamp("ns")),
                "day": pa.array([0], pa.date32()),
                "none": [None],
            }
        )
        pq.write_table(table, tmp_path / "in.parquet")
        embed_file(encoder, tmp_path / "in.parquet", tmp_path / "out.jsonl", QUIET)
        row = json.loads((tmp_path / "out.jsonl").read_text())
        assert len(row.pop("embedding")) == 384
        assert row == {
            "text": "a",
            "price": "1.50",
            "raw": "AP8=",
            "tags": ["x", None],
            "at": "1970-01-01 00:00:00.000000001",
            "day": "1970-01-01",
            "none": None,
        }

    def test_from_lines_to_standard_output(
        self, tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "in.txt").write_text("eins\nzwei\n")
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
        embed_file(encoder, tmp_path / "in.txt", "-", QUIET)
        rows = [json.loads(line) for line in out.getvalue().splitlines()]
        assert [row["text"] for row in rows] == ["eins", "zwei"]
        np.testing.assert_array_equal(np.array(rows[1]["embedding"], np.float32), vector_of("zwei"))

    def test_a_reader_that_goes_away_is_said_plainly(self, tmp_path: Path) -> None:
        (tmp_path / "in.txt").write_text("line\n" * 5000)
        command = [*_EMBED_IN_ANOTHER, str(tmp_path / "in.txt")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.readline()
            process.stdout.close()
            said = process.stderr.read().decode()
        assert said.strip().endswith("standard output was closed before all was written")
        assert process.returncode == 1

    def test_of_standard_output_on_a_full_disk_is_said_plainly(self, tmp_path: Path) -> None:
        (tmp_path / "in.txt").write_text("line\n" * 5000)
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*_EMBED_IN_ANOTHER, str(tmp_path / "in.txt")], stdout=full, stderr=subprocess.PIPE, check=False
            )
        said = done.stderr.decode().strip().splitlines()
        assert said[-1].endswith("cannot write to standard output: No space left on device")

    def test_of_an_empty_file(self, tmp_path: Path, encoder: HashEncoder) -> None:
        (tmp_path / "in.txt").write_text("")
        embed_file(encoder, tmp_path / "in.txt", tmp_path / "out.jsonl", QUIET)
        assert (tmp_path / "out.jsonl").read_bytes() == b""

    def test_what_was_written_can_be_embedded_again_under_another_name(
        self, tmp_path: Path, encoder: HashEncoder, jsonl: Path
    ) -> None:
        embed_file(encoder, jsonl, tmp_path / "once.jsonl", QUIET)
        options = EmbedOptions(quiet=True, vector_column="second")
        embed_file(encoder, tmp_path / "once.jsonl", tmp_path / "twice.jsonl", options)
        row = json.loads((tmp_path / "twice.jsonl").read_text().splitlines()[0])
        assert row["embedding"] == row["second"]


def test_npy_is_what_numpy_would_write(tmp_path: Path, encoder: HashEncoder, jsonl: Path) -> None:
    embed_file(encoder, jsonl, tmp_path / "out.npy", FOUR)
    np.save(tmp_path / "numpy.npy", vectors_of(TEXTS))
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (10, 384)


def test_truncate_reaches_the_model(tmp_path: Path, jsonl: Path) -> None:
    for truncate in (None, True, False):
        encoder = HashEncoder()
        options = EmbedOptions(quiet=True, truncate=truncate, overwrite=True)
        embed_file(encoder, jsonl, tmp_path / "out.npy", options)
        assert encoder.truncates == [truncate]


@pytest.mark.parametrize("bad", [0, 5, 9])
def test_a_text_that_the_model_refuses_is_named_by_its_line(tmp_path: Path, bad: int) -> None:
    lines = [f"{'long' if n == bad else 'short'} {n}" for n in range(10)]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    with pytest.raises(
        ContextLengthExceededError, match=rf"in.txt: line {bad + 1} has too many tokens: take --truncate"
    ) as caught:
        embed_file(PickyEncoder(), tmp_path / "in.txt", tmp_path / "out.npy", QUIET)
    assert caught.value.metadata["tokens"] == 999


class TestWholeOrAbsent:
    @pytest.mark.parametrize("name", ["out.parquet", "out.jsonl", "out.jsonl.gz", "out.npy"])
    @pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
    def test_an_error_midway_leaves_nothing(self, tmp_path: Path, jsonl: Path, name: str, error: BaseException) -> None:
        with pytest.raises(type(error)):
            embed_file(FailingEncoder(4, error), jsonl, tmp_path / name, FOUR)
        assert sorted(tmp_path.iterdir()) == [jsonl]

    @pytest.mark.parametrize("name", ["out.parquet", "out.jsonl.gz"])
    def test_an_error_midway_is_the_only_one_told(
        self, tmp_path: Path, jsonl: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[object] = []
        monkeypatch.setattr(sys, "unraisablehook", told.append)
        error = RuntimeError("boom")
        with pytest.raises(RuntimeError):
            embed_file(FailingEncoder(4, error), jsonl, tmp_path / name, FOUR)
        error.__traceback__ = None  # it holds the writer
        gc.collect()
        assert told == []

    def test_an_error_midway_leaves_the_old_output(self, tmp_path: Path, jsonl: Path) -> None:
        (tmp_path / "out.npy").write_bytes(b"old")
        options = EmbedOptions(quiet=True, overwrite=True, batch_rows=4)
        with pytest.raises(RuntimeError):
            embed_file(FailingEncoder(4, RuntimeError("boom")), jsonl, tmp_path / "out.npy", options)
        assert (tmp_path / "out.npy").read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_bad_line_at_the_end_leaves_nothing(self, tmp_path: Path, encoder: HashEncoder, jsonl: Path) -> None:
        with jsonl.open("a") as stream:
            stream.write("{")
        with pytest.raises(InvalidRequestError, match="line 11"):
            embed_file(encoder, jsonl, tmp_path / "out.jsonl", FOUR)
        assert sorted(tmp_path.iterdir()) == [jsonl]

    def test_vectors_that_cannot_be_right_are_not_written(self, tmp_path: Path, jsonl: Path) -> None:
        class Broken(HashEncoder):
            def encode(self, inputs, *, truncate=None):  # type: ignore[no-untyped-def]
                return super().encode(inputs, truncate=truncate) * np.float32("nan")

        with pytest.raises(EmbedRouterError, match="cannot be right"):
            embed_file(Broken(), jsonl, tmp_path / "out.npy", QUIET)
        assert sorted(tmp_path.iterdir()) == [jsonl]

    def test_a_full_disk_is_said_plainly(self, jsonl: Path) -> None:
        # /dev/full is no regular file, so the failing write is had with a limit on the size of files.
        with largest_file(4096), pytest.raises(InvalidRequestError, match="cannot write .*out.npy: File too large"):
            embed_file(HashEncoder(), jsonl, jsonl.with_name("out.npy"), QUIET)
        assert sorted(jsonl.parent.iterdir()) == [jsonl]


class TestTarget:
    def test_is_not_overwritten_unasked(self, tmp_path: Path, encoder: HashEncoder, jsonl: Path) -> None:
        (tmp_path / "out.npy").write_bytes(b"old")
        with pytest.raises(InvalidRequestError, match="exists: .*--overwrite"):
            embed_file(encoder, jsonl, tmp_path / "out.npy", QUIET)
        assert (tmp_path / "out.npy").read_bytes() == b"old"
        assert encoder.texts == 0

    def test_is_overwritten_when_asked_and_keeps_its_mode(
        self, tmp_path: Path, encoder: HashEncoder, jsonl: Path
    ) -> None:
        (tmp_path / "real.npy").write_bytes(b"old")
        (tmp_path / "real.npy").chmod(0o640)
        (tmp_path / "out.npy").symlink_to("real.npy")
        embed_file(encoder, jsonl, tmp_path / "out.npy", EmbedOptions(quiet=True, overwrite=True))
        assert (tmp_path / "out.npy").is_symlink()
        assert np.load(tmp_path / "real.npy").shape == (10, 384)
        assert (tmp_path / "real.npy").stat().st_mode & 0o777 == 0o640

    def test_that_appears_meanwhile_is_not_overwritten(self, tmp_path: Path, jsonl: Path) -> None:
        class Racing(HashEncoder):
            def encode(self, inputs, *, truncate=None):  # type: ignore[no-untyped-def]
                (tmp_path / "out.npy").write_bytes(b"another's")
                return super().encode(inputs, truncate=truncate)

        with pytest.raises(InvalidRequestError, match="exists"):
            embed_file(Racing(), jsonl, tmp_path / "out.npy", QUIET)
        assert (tmp_path / "out.npy").read_bytes() == b"another's"

    def test_has_the_mode_that_the_umask_gives(self, tmp_path: Path, encoder: HashEncoder, jsonl: Path) -> None:
        old = os.umask(0o027)
        try:
            embed_file(encoder, jsonl, tmp_path / "out.npy", QUIET)
        finally:
            os.umask(old)
        assert (tmp_path / "out.npy").stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("link", ["same", "symlink", "hardlink"])
    def test_is_not_the_input(self, tmp_path: Path, encoder: HashEncoder, jsonl: Path, link: str) -> None:
        target = jsonl if link == "same" else tmp_path / "link.jsonl"
        if link == "symlink":
            target.symlink_to(jsonl)
        elif link == "hardlink":
            target.hardlink_to(jsonl)
        before = jsonl.read_bytes()
        with pytest.raises(InvalidRequestError, match="is the input"):
            embed_file(encoder, jsonl, target, EmbedOptions(quiet=True, overwrite=True))
        assert jsonl.read_bytes() == before

    def test_device_is_left_alone(self, encoder: HashEncoder, jsonl: Path) -> None:
        options = EmbedOptions(quiet=True, overwrite=True, output_format="jsonl")
        with pytest.raises(InvalidRequestError, match="not a regular file"):
            embed_file(encoder, jsonl, "/dev/null", options)
        assert Path("/dev/null").is_char_device()

    @pytest.mark.parametrize(
        ("target", "options", "said"),
        [
            ("nowhere/out.npy", QUIET, "there is no folder .*nowhere"),
            ("out.csv", QUIET, "cannot tell the output format"),
            ("out.npy.gz", QUIET, "only JSONL is written compressed"),
        ],
    )
    def test_that_cannot_be(
        self, tmp_path: Path, encoder: HashEncoder, jsonl: Path, target: str, options: EmbedOptions, said: str
    ) -> None:
        with pytest.raises(InvalidRequestError, match=said):
            embed_file(encoder, jsonl, tmp_path / target, options)

    def test_standard_output_takes_no_parquet(self, encoder: HashEncoder, jsonl: Path) -> None:
        with pytest.raises(InvalidRequestError, match="standard output takes JSONL only"):
            embed_file(encoder, jsonl, "-", EmbedOptions(quiet=True, output_format="parquet"))

    def test_parquet_from_a_stream_of_jsonl_is_refused(
        self, tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n')))
        with pytest.raises(InvalidRequestError, match="a stream can be read only once"):
            embed_file(encoder, "-", tmp_path / "out.parquet", EmbedOptions(quiet=True, input_format="jsonl"))
