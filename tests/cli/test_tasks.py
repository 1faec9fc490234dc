"""cluster, dedupe, rank, similarity and plot over files, with the real model's vectors."""

import csv
import importlib.util
import itertools
import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk.limits import largest_file
from cli.commands import run
from embedrouter.cli.common import table
from embedrouter.minilm import MiniLM

_TOPICS = {
    "cats": ["A cat sleeps on the sofa.", "My kitten chases a ball of wool.", "Cats like warm places."],
    "money": ["The bank raised its interest rates.", "Stocks fell on Monday.", "Investors bought bonds."],
    "rain": ["It will rain tomorrow.", "The storm brought heavy rain.", "Clouds and showers are expected."],
}
_ROWS = [(topic, text) for topic, texts in _TOPICS.items() for text in texts]
_CHOSEN = ["{file}", "--column", "text", "--vectors", "embedding"]
_AGAIN = "A cat is sleeping on the sofa."


@pytest.fixture(scope="module")
def file(model: MiniLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet with an id, a topic, a text and its vector; the last row nearly says what the first does."""
    rows = [*_ROWS, ("cats", _AGAIN)]
    texts = [text for _, text in rows]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(model.encode(texts).ravel(), pa.float32()), 384)
    columns = {"id": list(range(len(rows))), "topic": [topic for topic, _ in rows], "text": texts, "embedding": vectors}
    path = tmp_path_factory.mktemp("tasks") / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def _of(file: Path) -> list[str]:
    return [word.format(file=file) for word in _CHOSEN]


def test_cluster_groups_and_names(file: Path) -> None:
    done = run("cluster", *_of(file), "--k", "3", "--json").json()
    assert done["rows"] == 10
    assert done["unclustered"] == 0
    assert [one["size"] for one in done["clusters"]] == [4, 3, 3]
    labels = done["labels"]
    assert len({tuple(labels[start : start + 3]) for start in (0, 3, 6)}) == 3
    assert all(len(set(labels[start : start + 3])) == 1 for start in (0, 3, 6))
    assert labels[9] == labels[0]
    assert all(one["title"] and one["text"] for one in done["clusters"])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_cluster_writes_all_columns_and_two_more(file: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out.{suffix}"
    done = run("cluster", *_of(file), "--k", "3", "-o", str(target))
    assert done.status == 0, done.stderr
    if suffix == "parquet":
        rows = pq.read_table(target).to_pylist()
        assert pq.read_schema(target).field("embedding").type == pa.list_(pa.float32(), 384)
    elif suffix == "csv":
        rows = list(csv.DictReader(StringIO(target.read_text())))
    else:
        rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert list(rows[0]) == ["id", "topic", "text", "embedding", "cluster", "cluster_title"]
    assert [row["topic"] for row in rows] == [topic for topic, _ in _ROWS] + ["cats"]
    assert len({(row["topic"], row["cluster"]) for row in rows}) == 3
    assert "cluster" in run("cluster", *_of(file), "--k", "3", "-o", str(target)).refusal()


def test_dedupe_keeps_one_of_a_group_with_all_columns(file: Path, tmp_path: Path) -> None:
    target, report = tmp_path / "kept.parquet", tmp_path / "groups.jsonl"
    done = run(
        "dedupe", *_of(file), "--threshold", "0.9", "--keep", "longest", "-o", str(target), "--report", str(report)
    )
    assert done.status == 0, done.stderr
    assert "10 rows: 9 kept, 1 left out in 1 group" in done.stderr
    kept = pq.read_table(target)
    assert kept.column_names == ["id", "topic", "text", "embedding"]
    assert kept["id"].to_pylist() == list(range(1, 10))
    [group] = map(json.loads, report.read_text().splitlines())
    assert group["kept"]["text"] == _AGAIN
    assert [(one["row"], one["text"]) for one in group["left_out"]] == [(1, _ROWS[0][1])]
    assert 0.9 <= group["left_out"][0]["score"] < 1


def test_dedupe_without_an_output_only_tells(file: Path) -> None:
    done = run("dedupe", *_of(file), "--threshold", "0.9", "--json").json()
    assert (done["rows"], done["kept"], done["left_out"]) == (10, 9, 1)
    assert _AGAIN in run("dedupe", *_of(file), "--threshold", "0.9").stdout


def test_rank_puts_the_best_row_first(file: Path, model: MiniLM) -> None:
    done = run("rank", "weather forecast", *_of(file), "-k", "3", "--json").json()
    assert {one["text"] for one in done} == set(_TOPICS["rain"])
    scores = [one["score"] for one in done]
    assert scores == sorted(scores, reverse=True)
    expected = model.similarity("weather forecast", [one["text"] for one in done])[0]
    assert np.allclose(scores, expected, atol=2e-3)


def test_rank_reads_standard_input_and_documents(tmp_path: Path) -> None:
    done = run("rank", "a pet", "-", typed="The bank is closed.\nMy cat is asleep.\n")
    assert done.status == 0, done.stderr
    assert done.stdout.splitlines()[1].split("\t")[1:] == ["2", "My cat is asleep."]
    (tmp_path / "a.md").write_text("# Pets\n\nMy cat is asleep.\n\n# Money\n\nThe bank is closed.\n")
    [best] = run("rank", "finance", str(tmp_path), "-k", "1", "--json").json()
    assert "The bank is closed." in best["text"]


def test_similarity_of_two_columns_goes_beside_them(tmp_path: Path) -> None:
    source, target = tmp_path / "pairs.csv", tmp_path / "scored.csv"
    source.write_text("left,right,n\nA cat.,A kitten.,1\nA cat.,,2\nA cat.,The stock market.,3\n")
    arguments = ["similarity", "--file", str(source), "--pairs", "left,right", "-o", str(target)]
    assert "line 3 is empty" in run(*arguments).refusal()
    done = run(*arguments, "--on-empty", "skip")
    assert done.status == 0, done.stderr
    rows = list(csv.DictReader(StringIO(target.read_text())))
    assert [row["n"] for row in rows] == ["1", "3"]
    assert float(rows[0]["similarity"]) > 0.5 > float(rows[1]["similarity"])


def test_similarity_of_all_rows_is_a_matrix(file: Path, tmp_path: Path, model: MiniLM) -> None:
    arguments = ["similarity", "--file", str(file), "--column", "text", "--vectors", "embedding"]
    expected = model.similarity([text for _, text in _ROWS], [text for _, text in _ROWS])
    shown = np.array(run(*arguments, "--json").json()["similarity"])
    assert np.allclose(shown[:9, :9], expected, atol=1e-3)
    for name in ("matrix.npy", "matrix.csv"):
        assert run(*arguments, "-o", str(tmp_path / name)).status == 0
    assert np.allclose(np.load(tmp_path / "matrix.npy"), shown, atol=1e-6)
    assert np.allclose(np.loadtxt(tmp_path / "matrix.csv", delimiter=","), shown, atol=1e-5)


def test_a_map_is_one_page_that_asks_nothing_of_the_network(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "map.html"
    done = run("plot", *_of(file), "--by", "topic", "--label", "id", "-o", str(target), "--title", "<b>Topics</b>")
    assert done.status == 0, done.stderr
    page = target.read_text()
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!data)|<link[^>]+href=\"(?!data)", page)
    assert "<title>&lt;b&gt;Topics&lt;/b&gt;</title>" in page
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert data["groups"] == ["cats", "money", "rain"]
    assert data["group"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]
    assert data["labels"][3] == "3"
    points = np.array(data["points"])
    assert points.shape == (10, 2)
    assert points.min() >= 0
    assert points.max() <= 1


def test_a_text_cannot_leave_its_place_in_the_page(tmp_path: Path) -> None:
    source, target = tmp_path / "rows.jsonl", tmp_path / "map.html"
    nasty = "</script><script>alert(1)</script> {{ title }} <!--"
    vector = [1.0] + [0.0] * 383
    source.write_text("".join(json.dumps({"text": text, "v": vector}) + "\n" for text in (nasty, "plain")))
    done = run("plot", str(source), "--vectors", "v", "--by", "text", "-o", str(target))
    assert done.status == 0, done.stderr
    page = target.read_text()
    assert page.count("<script") == 2
    assert nasty in json.loads(page.split('id="data">')[1].split("</script>")[0])["texts"]


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is an extra")
def test_a_map_may_be_a_picture(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "map.png"
    done = run("plot", *_of(file), "--k", "3", "--method", "pca", "-o", str(target))
    assert done.status == 0, done.stderr
    assert target.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(target.read_bytes()[16:20]) == 1920


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cluster", "{file}", "--column", "text", "--vectors", "embeding"], 'did you mean "embedding"'),
        (["cluster", "{file}", "--column", "text", "--vectors", "topic"], "not vectors"),
        (["cluster", *_CHOSEN, "-o", "{file}"], "is the input"),
        (["cluster", *_CHOSEN, "-o", "{folder}/a.xlsx"], "a.xlsx"),
        (["cluster", *_CHOSEN, "--cluster-column", "id", "-o", "-"], '"id"'),
        (["cluster", *_CHOSEN, "--k", "99"], "only 10"),
        (["dedupe", "{folder}/none.csv"], "none.csv"),
        (["dedupe", *_CHOSEN, "-o", "-", "--json"], "standard output"),
        (["rank", " ", "{file}"], "query is empty"),
        (["similarity", "a", "b", "--file", "{file}"], "not both"),
        (["similarity", "--file", "{file}", "--pairs", "topic"], "two columns"),
        (["plot", "{file}", "-o", "{folder}/map.svg"], "map.svg"),
        (["plot", *_CHOSEN, "--by", "topc", "-o", "{folder}/m.html"], "topic"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(file: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    before = file.read_bytes()
    assert words in run(*(word.format(file=file, folder=tmp_path) for word in arguments)).refusal()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_a_row_without_a_usable_vector_is_named(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    for bad, words in (([0.0, 0.0], "line 2"), ([1.0], "line 2"), (None, "line 2"), (["x", 1], "line 2")):
        rows = [{"text": "a", "v": [1.0, 0.0]}, {"text": "b", "v": bad}]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert words in run("cluster", str(source), "--vectors", "v").refusal()


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_shows_texts_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", shown := _Terminal())
    table(("text",), [(r"a\[/b] c",), (r"[bold]d[/bold]\\",), ("e\x1b[31mf\x9bg",)])
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert lines[-4:-1] == [r"a\[/b] c", r"[bold]d[/bold]\\", "e [31mf g"]


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(("rank", "cats", "{file}"), id="table"),
        pytest.param(("rank", "cats", "{file}", "--json"), id="json"),
        pytest.param(("dedupe", "{file}", "-o", "-"), id="rows"),
    ],
)
def test_a_full_disk_behind_standard_output_is_said_plainly(file: Path, output: tuple[str, ...]) -> None:
    command = [
        sys.executable,
        "-c",
        "from embedrouter.cli import main; main()",
        *(one.format(file=file) for one in output),
    ]
    command += ["--column", "text", "--vectors", "embedding"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "embedrouter: cannot write to standard output: No space left on device\n"


def test_a_full_folder_of_temporary_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Cats\n\n" + "A cat sleeps on the sofa. " * 400)
    with largest_file(4096):
        documents = run("rank", "cats", str(tmp_path / "notes"))
        stream = run("rank", "cats", "-", typed="A cat sleeps on the sofa.\n" * 400)
    for done in (documents, stream):
        assert "cannot write temporary files in" in done.refusal()
        assert "TMPDIR" in done.refusal()


def test_workers_without_a_cluster_are_refused(tmp_path: Path) -> None:
    told = run("embed", "in.txt", "-o", str(tmp_path / "out.npy"), "--workers", "2").refusal()
    assert "--workers goes with --cluster" in told


_ROW_4 = 3


_LISTS = [pa.list_(pa.float32()), pa.large_list(pa.float64())]
_USELESS = [None, [1.0, None, 0.0, 0.0], [0.0] * 4]


@pytest.mark.parametrize(
    ("kind", "bad"),
    [*itertools.product([pa.list_(pa.float32(), 4), *_LISTS], _USELESS), *((kind, [1.0]) for kind in _LISTS)],
    ids=str,
)
def test_the_row_whose_vector_is_of_no_use_is_named(tmp_path: Path, kind: pa.DataType, bad: list[float] | None) -> None:
    vectors: list[list[float] | None] = [list(row) for row in np.eye(6, 4, dtype=np.float32) + 1]
    vectors[_ROW_4] = bad
    table = pa.table({"text": list("abcdef"), "v": pa.array(vectors, kind)})
    pq.write_table(table, tmp_path / "in.parquet")
    assert "row 4" in run("dedupe", str(tmp_path / "in.parquet"), "--vectors", "v").refusal()
    without = table.set_column(0, "text", [["a", "b", "c", None, "e", "f"]])
    pq.write_table(without, tmp_path / "in.parquet")
    done = run("dedupe", str(tmp_path / "in.parquet"), "--vectors", "v", "--on-empty", "skip", "--json").json()
    assert done["rows"] == 5


def test_a_list_of_texts_is_no_vector(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "v": [["1", "2"]]}), tmp_path / "in.parquet")
    assert "not vectors" in run("dedupe", str(tmp_path / "in.parquet"), "--vectors", "v").refusal()
