"""Each format in: which texts are read, and what is said of files that cannot be."""

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedrouter.bulk import EmbedOptions, EmbedReport, embed_file
from embedrouter.errors import InvalidRequestError

from .encoders import HashEncoder, vectors_of

QUIET = EmbedOptions(quiet=True)
TEXTS = ["plain", "naïve café, “quoted”", "日本語のテキスト", "emoji 🧑‍🚀 and\ttab"]


def embedded(source: Path | str, folder: Path, options: EmbedOptions = QUIET) -> np.ndarray:
    """The vectors of a file, by way of .npy."""
    target = folder / "embedded.npy"
    embed_file(HashEncoder(), source, target, options)
    vectors: np.ndarray = np.load(target)
    target.unlink()
    return vectors


def refusal(source: Path | str, folder: Path, options: EmbedOptions = QUIET, target: str = "refused.jsonl") -> str:
    """What is said of a file that cannot be embedded; nothing may be left of it."""
    before = sorted(folder.iterdir())
    with pytest.raises(InvalidRequestError) as caught:
        embed_file(HashEncoder(), source, folder / target, options)
    assert sorted(folder.iterdir()) == before
    return str(caught.value)


def write(path: Path, data: str | bytes) -> Path:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "unended"])
def test_text_lines(tmp_path: Path, name: str, end: str, last: bool) -> None:
    source = write(tmp_path / name, end.join(TEXTS) + (end if last else ""))
    np.testing.assert_array_equal(embedded(source, tmp_path), vectors_of(TEXTS))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_with_quotes_and_newlines_inside(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / name, 'id,text\n1,"two\nlines"\n2,"say ""hi"", twice"\n\n3,日本\n')
    assert_texts(source, tmp_path, ["two\nlines", 'say "hi", twice', "日本"])


def test_csv_with_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", b"\xef\xbb\xbftext,id\r\nfirst,1\r\nsecond,2\r\n")
    assert_texts(source, tmp_path, ["first", "second"])


def test_tsv(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tsv", "id\ttext\n1\tone, two\n")
    assert_texts(source, tmp_path, ["one, two"])


def test_csv_field_longer_than_the_default_limit(tmp_path: Path) -> None:
    long = "word " * 100_000
    assert_texts(write(tmp_path / "a.csv", f'text\n"{long}"\n'), tmp_path, [long])


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_jsonl(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / name, '{"text": "one\\ntwo"}\n\n{"n": 1, "text": "\\u65e5本"}\r\n')
    assert_texts(source, tmp_path, ["one\ntwo", "日本"])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"id": range(4), "text": pa.array(TEXTS).cast(kind)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    assert_texts(tmp_path / "a.parquet", tmp_path, TEXTS)


def assert_texts(source: Path, folder: Path, texts: list[str]) -> None:
    np.testing.assert_array_equal(embedded(source, folder), vectors_of(texts))


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_the_size_of_batches_changes_nothing(tmp_path: Path, rows: int) -> None:
    source = write(tmp_path / "a.txt", "\n".join(TEXTS))
    np.testing.assert_array_equal(
        embedded(source, tmp_path, EmbedOptions(quiet=True, batch_rows=rows)), vectors_of(TEXTS)
    )


def test_standard_input_is_lines_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"eins\nzwei\n")))
    np.testing.assert_array_equal(embedded("-", tmp_path), vectors_of(["eins", "zwei"]))


def test_standard_input_as_jsonl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"body": "eins"}\n')))
    options = EmbedOptions(quiet=True, input_format="jsonl")
    np.testing.assert_array_equal(embedded("-", tmp_path, options), vectors_of(["eins"]))


def test_a_stated_format_beats_the_suffix(tmp_path: Path) -> None:
    source = write(tmp_path / "export.dat", "id,text\n1,one\n")
    np.testing.assert_array_equal(
        embedded(source, tmp_path, EmbedOptions(quiet=True, input_format="csv")), vectors_of(["one"])
    )


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    assert embedded(write(tmp_path / name, ""), tmp_path).shape == (0, 384)


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert embedded(write(tmp_path / "a.csv", "id,text\n"), tmp_path).shape == (0, 384)


class TestColumn:
    def test_the_named_one(self, tmp_path: Path) -> None:
        source = write(tmp_path / "a.csv", "text,body\nno,yes\n")
        options = EmbedOptions(quiet=True, column="body")
        np.testing.assert_array_equal(embedded(source, tmp_path, options), vectors_of(["yes"]))

    def test_text_is_the_default(self, tmp_path: Path) -> None:
        source = write(tmp_path / "a.jsonl", '{"title": "no", "text": "yes"}')
        np.testing.assert_array_equal(embedded(source, tmp_path), vectors_of(["yes"]))

    def test_the_only_column_of_texts(self, tmp_path: Path) -> None:
        source = write(tmp_path / "a.jsonl", '{"id": 1, "body": null}\n{"id": 2, "body": "yes"}')
        options = EmbedOptions(quiet=True, on_empty="skip")
        np.testing.assert_array_equal(embedded(source, tmp_path, options), vectors_of(["yes"]))
        pq.write_table(pa.table({"id": [1], "body": ["yes"]}), tmp_path / "a.parquet")
        np.testing.assert_array_equal(embedded(tmp_path / "a.parquet", tmp_path), vectors_of(["yes"]))

    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
    def test_two_columns_of_texts_need_a_choice(self, tmp_path: Path, name: str) -> None:
        source = two_columns(tmp_path / name)
        assert 'has 2 columns of texts: name one with --column: "title", "body"' in refusal(source, tmp_path)

    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
    def test_a_missing_one_names_the_nearest(self, tmp_path: Path, name: str) -> None:
        source = two_columns(tmp_path / name)
        said = refusal(source, tmp_path, EmbedOptions(quiet=True, column="bdy", on_empty="skip"))
        assert 'no column "bdy"; did you mean "body"?; its columns are "title", "body"' in said

    def test_parquet_column_of_numbers(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"id": [1], "text": ["a"]}), tmp_path / "a.parquet")
        said = refusal(tmp_path / "a.parquet", tmp_path, EmbedOptions(quiet=True, column="id", on_empty="skip"))
        assert 'the column "id" holds int64, not texts' in said

    def test_lines_have_none(self, tmp_path: Path) -> None:
        source = write(tmp_path / "a.txt", "a\n")
        assert "no columns: leave out --column" in refusal(source, tmp_path, EmbedOptions(quiet=True, column="text"))


def two_columns(path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"title": ["t"], "body": ["b"]}), path)
        return path
    return write(path, "title,body\nt,b\n" if path.suffix == ".csv" else '{"title": "t", "body": "b"}\n')


ROWS_WITHOUT_TEXT = [
    ("a.txt", "one\n\ntwo\n", "line 2 is empty"),
    ("a.txt", "one\n \t\ntwo\n", "line 2 is empty"),
    ("a.csv", 'id,text\n1,"one\n1b"\n2,\n3,two\n', "line 4 is empty"),
    ("a.jsonl", '{"text":"one\\n1b"}\n\n{"text":null}\n{"text":"two"}', "line 3 has no text (null or missing)"),
    ("a.jsonl", '{"text":"one\\n1b"}\n{"x":1}\n{"text":"two"}', "line 2 has no text (null or missing)"),
    ("a.jsonl", '{"text":"one\\n1b"}\n{"text":5}\n{"text":"two"}', "line 2 holds a number, not a text"),
]


@pytest.mark.parametrize(("name", "data", "fault"), ROWS_WITHOUT_TEXT)
def test_a_row_without_text(tmp_path: Path, name: str, data: str, fault: str) -> None:
    source = write(tmp_path / name, data)
    options = EmbedOptions(quiet=True, column=None if name == "a.txt" else "text")
    said = refusal(source, tmp_path, options)
    assert f'{source}, column "text": {fault}' in said
    assert "--on-empty skip" in said


@pytest.mark.parametrize(("name", "data", "fault"), ROWS_WITHOUT_TEXT)
def test_a_row_without_text_can_be_skipped(tmp_path: Path, name: str, data: str, fault: str) -> None:
    source = write(tmp_path / name, data)
    column = None if name == "a.txt" else "text"
    options = EmbedOptions(quiet=True, column=column, on_empty="skip", batch_rows=2)
    report = embed_file(HashEncoder(), source, tmp_path / "o.npy", options)
    assert (report.rows, report.skipped) == (2, 1)
    first = "one" if name == "a.txt" else "one\n1b"
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), vectors_of([first, "two"]))


def test_a_parquet_row_without_text(tmp_path: Path, encoder: HashEncoder) -> None:
    table = pa.table({"id": [1, 2, 3, 4], "text": ["a", "b", None, "d"]})
    pq.write_table(table, tmp_path / "a.parquet")
    said = refusal(tmp_path / "a.parquet", tmp_path, EmbedOptions(quiet=True, batch_rows=2))
    assert "row 3 has no text" in said
    options = EmbedOptions(quiet=True, batch_rows=2, on_empty="skip")
    report = embed_file(encoder, tmp_path / "a.parquet", tmp_path / "o.parquet", options)
    assert isinstance(report, EmbedReport)
    assert (report.rows, report.skipped) == (3, 1)
    assert pq.read_table(tmp_path / "o.parquet")["id"].to_pylist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"ok\ncaf\xe9\n", "line 2 is not UTF-8 (byte 4 is 0xe9)"),
        ("a.csv", b"text\nok\ncaf\xe9\n", "line 3 is not UTF-8 (byte 4 is 0xe9)"),
        ("a.jsonl", b'{"text":"ok"}\n{"text":"caf\xe9"}\n', "line 2 is not UTF-8 (byte 13 is 0xe9)"),
        ("a.jsonl", b'{"text":"ok"}\n\n{"text":\n', "line 3 is not valid JSON: unexpected end of data (character 9)"),
        ("a.csv", b"id;text\r\n1;a\r\n", "its columns seem to be parted by semicolons, and commas part them here"),
        ("a.tsv", b"id,text\n1,a\n", "its columns seem to be parted by commas, and tabs part them here"),
        ("a.jsonl", b'{"text":"ok"}\n["text"]\n', "line 2 is a list, not an object"),
        ("a.csv", b'id,text\n1,"a\nb"\n2,c,d\n', "the row at line 4 has 3 fields, and the header 2"),
        ("a.csv", b'id,text\n1,a\n2,"never closed\n3,c\n', "the row at line 3 is not valid CSV"),
        ("a.csv", b"text,text\na,b\n", 'more than one column named "text"'),
        ("a.csv", b"text,embedding\na,b\n", 'already has a column "embedding": choose another name'),
        ("a.jsonl", b'{"text":"a"}\n{"text":"a","embedding":[]}\n', 'line 2 already has a column "embedding"'),
        ("a.parquet", b"PAR1 but not really", "is not a readable Parquet file"),
        ("a.txt.gz", b"", "cannot read"),
    ],
)
def test_a_damaged_file_names_the_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    source = tmp_path / name
    source.write_bytes(data if name != "a.txt.gz" else gzip.compress(b"line\n" * 1000)[:-20])
    assert said in refusal(source, tmp_path)


@pytest.mark.parametrize("batch_rows", [2048, 3], ids=["within a batch", "between batches"])
def test_a_field_of_two_types_names_the_line(tmp_path: Path, batch_rows: int) -> None:
    lines = [json.dumps({"text": f"text {n}", "n": "x" if n == 6 else n}) for n in range(9)]
    source = write(tmp_path / "a.jsonl", "\n".join(lines))
    options = EmbedOptions(quiet=True, batch_rows=batch_rows)
    said = refusal(source, tmp_path, options, "refused.parquet")
    assert "a.jsonl: line 7: a Parquet column has one type: write JSONL, or mend the field" in said


def test_utf16_is_recognised(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", "id,text\n1,hello\n".encode("utf-16"))
    assert "line 1 is not UTF-8 (byte 1 is 0xff); convert the file first, for example: iconv -f UTF-16" in refusal(
        source, tmp_path
    )


def test_a_header_of_one_column_may_have_a_semicolon(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", b"text; or nothing\none\n")
    embed_file(HashEncoder(), source, tmp_path / "o.npy", EmbedOptions(quiet=True, column="text; or nothing"))
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), vectors_of(["one"]))


def test_a_parquet_text_that_is_not_utf8_names_the_row(tmp_path: Path) -> None:
    raw = pa.array([b"ok"] * 50 + [b"caf\xe9"] + [b"ok"] * 9, pa.binary())
    broken = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    said = refusal(tmp_path / "a.parquet", tmp_path, EmbedOptions(quiet=True, batch_rows=16))
    assert 'row 51: "text" is not UTF-8 (byte 4 is 0xe9)' in said


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedrouter.bulk.lines.MAX_LINE", 1 << 20)
    source = write(tmp_path / "a.txt", b"ok\n" + b"x" * (1 << 20) + b"y\n")
    assert "line 2 is longer than 1 MiB" in refusal(source, tmp_path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("missing.txt", "No such file"),
        ("a.tx", 'did you mean ".txt"'),
        ("caf\udce9.txt", r"caf\udce9.txt is not UTF-8: rename it"),
        ("a.parquet.gz", "gunzip"),
        (".", "cannot tell the input format"),
    ],
)
def test_an_input_that_cannot_be(tmp_path: Path, source: str, said: str) -> None:
    assert said in refusal(tmp_path / source, tmp_path)


def test_an_unknown_format_names_the_known(tmp_path: Path) -> None:
    options = EmbedOptions(quiet=True, input_format="jsnl")  # type: ignore[arg-type]
    assert 'unknown input format "jsnl"; did you mean "jsonl"?' in refusal(tmp_path / "a", tmp_path, options)
