"""Passages from folders of documents and from rows."""

import gzip
import json
import os
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pypdf import PdfReader, PdfWriter

from embedrouter.bulk.documents import DocumentOptions, DocumentReader, Passage, token_count
from embedrouter.bulk.passage_windows import TokenCount, WindowOptions
from embedrouter.errors import InvalidRequestError
from embedrouter.minilm.tokenizer import Tokenizer
from embedrouter.minilm.weights import Weights

from .made import HTML, MARKDOWN, pdf


@pytest.fixture(scope="module")
def count(weights: Weights) -> TokenCount:
    return token_count(Tokenizer(weights.tokenizer))


def _read(count: TokenCount, *paths: Path, **options: object) -> list[Passage]:
    return list(DocumentReader(paths, DocumentOptions(**options), count).passages())  # type: ignore[arg-type]


def test_markdown_has_title_headings_and_no_addresses(count: TokenCount, tmp_path: Path) -> None:
    file = tmp_path / "garden.md"
    file.write_text(MARKDOWN)
    found = _read(count, file)
    assert [one.metadata.get("heading") for one in found] == [None, "Roses", "Underlined"]
    assert [one.metadata["position"] for one in found] == [1, 2, 3]
    assert {one.metadata["title"] for one in found} == {"A garden"}
    assert "Read the guide first." in found[0].text
    assert "# this is no heading" in found[1].text
    assert "See a picture." in found[2].text


def test_html_is_what_a_reader_sees(count: TokenCount, tmp_path: Path) -> None:
    file = tmp_path / "zoo.html"
    file.write_text(HTML)
    first, second = _read(count, file)
    assert first.text == "The zoo\n\nIt has many animals.\n\nCome & see."
    assert first.metadata == {"source": str(file), "position": 1, "title": "The zoo"}
    assert second.text.split("\n\n") == ["Opening hours", "- Monday: closed", "- Tuesday: 9 to 5"]
    assert second.metadata["heading"] == "Opening hours"


def test_pdf_passages_know_their_page_and_go_on_across_pages(count: TokenCount, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    pages = [
        ["The first page talks of hyphen-", "ated words. Its last sentence"],
        ["ends on the second page. Then it is done."],
    ]
    file.write_bytes(pdf(pages, "Report"))
    found = _read(count, file, window=WindowOptions(14, 0))
    assert found[0].text == "The first page talks of hyphenated words."
    assert " ".join(found[1].text.split()) == "Its last sentence ends on the second page."
    assert [one.metadata["page"] for one in found] == [1, 1, 2]
    assert {one.metadata["title"] for one in found} == {"Report"}


def test_a_folder_is_read_by_name_without_hidden_files_and_round_links_once(count: TokenCount, tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", ".hidden.txt", "deep/c.html", ".git/d.txt", "image.png", "rows.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"This is {name}.")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.txt")
    found = [Path(one.source).name for one in _read(count, tmp_path)]
    assert found == ["a.md", "b.txt", "c.html"]


def _bad_files(folder: Path) -> dict[str, str]:
    """Files that cannot be read, and what is said of each."""
    (folder / "binary.txt").write_bytes(b"MZ\0\1")
    (folder / "latin.txt").write_bytes("one\ncaf\xe9".encode("latin-1"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4\nnothing")
    (folder / "cut.pdf").write_bytes(pdf([["A page."]])[:200])
    (folder / "scanned.pdf").write_bytes(pdf([[]]))
    writer = PdfWriter(PdfReader(BytesIO(pdf([["Secret."]]))))
    writer.encrypt("password", algorithm="AES-256")
    writer.write(folder / "locked.pdf")
    (folder / "gone.md").symlink_to(folder / "nowhere.md")
    return {
        "binary.txt": "not text",
        "latin.txt": "line 2 is not UTF-8",
        "broken.pdf": "not a readable PDF",
        "cut.pdf": "PDF",
        "scanned.pdf": "no text",
        "locked.pdf": "encrypted",
        "gone.md": "No such file",
    }


def test_bad_documents_are_named_and_left_out(count: TokenCount, tmp_path: Path) -> None:
    expected = _bad_files(tmp_path)
    (tmp_path / "good.txt").write_text("All is well.")
    told: list[str] = []
    reader = DocumentReader([tmp_path], DocumentOptions(), count, told.append)
    assert [one.text for one in reader.passages()] == ["All is well."]
    assert (reader.read, reader.left_out) == (1, len(expected))
    for name, words in expected.items():
        assert any(name in line and words in line for line in told), (name, told)
    assert reader.position() == reader.total


def test_strict_stops_at_a_bad_document(count: TokenCount, tmp_path: Path) -> None:
    for name, words in _bad_files(tmp_path).items():
        if name != "gone.md":
            with pytest.raises(InvalidRequestError, match=words):
                _read(count, tmp_path / name, strict=True)
    with pytest.raises(InvalidRequestError):
        _read(count, tmp_path, strict=True)


def test_rows_keep_their_columns_but_vectors(count: TokenCount, tmp_path: Path) -> None:
    csv, jsonl, parquet = tmp_path / "a.csv", tmp_path / "b.jsonl.gz", tmp_path / "c.parquet"
    csv.write_text("id,text,source\n007,One text.,web\n")
    row = {"text": "Two.", "year": 2020, "tags": ["x"], "none": None, "embedding": [0.1] * 384}
    jsonl.write_bytes(gzip.compress(json.dumps(row).encode()))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 384, pa.float32()), 384)
    pq.write_table(pa.table({"text": ["Three."], "n": [1], "embedding": vectors}), parquet)
    own = [{"source": str(file), "row": number, "position": 1} for file, number in ((csv, 2), (jsonl, 1), (parquet, 1))]
    assert [one.metadata for one in _read(count, csv, jsonl, parquet)] == [
        {**own[0], "id": "007", "source_": "web"},
        {**own[1], "year": 2020, "tags": ["x"]},
        {**own[2], "n": 1},
    ]


def test_long_rows_are_cut_only_when_asked(count: TokenCount, tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text('text,id\n"' + "A sentence with some words. " * 40 + '",5\n')
    assert len(_read(count, file)) == 1
    cut = _read(count, file, split=True, window=WindowOptions(64, 0))
    assert len(cut) > 3
    assert {(one.metadata["row"], one.metadata["id"]) for one in cut} == {(2, "5")}
    assert [one.metadata["position"] for one in cut] == list(range(1, len(cut) + 1))


def test_a_text_file_is_a_document_unless_its_lines_are_rows(count: TokenCount, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("One line.\nAnother line.\n")
    assert [one.text for one in _read(count, file)] == ["One line.\nAnother line."]
    assert [one.text for one in _read(count, file, input_format="text")] == ["One line.", "Another line."]


def test_a_path_that_means_nothing_is_refused(count: TokenCount, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.docx").write_text("x")
    for name, words in {
        "none": "No such file",
        "empty": "no documents",
        "a.docx": "cannot tell the input format",
    }.items():
        with pytest.raises(InvalidRequestError, match=words):
            _read(count, tmp_path / name)


def test_a_bad_row_is_named(count: TokenCount, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "ok"}\n{"text": ""}\n')
    with pytest.raises(InvalidRequestError, match=r"a\.jsonl.*line 2 is empty"):
        _read(count, file)
    assert len(_read(count, file, on_empty="skip")) == 1
