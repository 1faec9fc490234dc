"""embedrouter index, over real documents with the real model."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bulk.made import HTML, MARKDOWN, pdf
from cli.commands import run
from embedrouter.bulk.locks import changing

_RECIPE = "Boil the potatoes for twenty minutes. Mash them with butter and warm milk. Season with nutmeg."


class Built(NamedTuple):
    """An index, and the folder it was made of."""

    folder: Path
    documents: Path
    stderr: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("index")
    documents = folder / "documents"
    documents.mkdir()
    (documents / "garden.md").write_text(MARKDOWN)
    (documents / "zoo.html").write_text(HTML)
    (documents / "recipe.txt").write_text(_RECIPE)
    cover = "This cover page has many words, and none of them says anything."
    (documents / "tax.pdf").write_bytes(
        pdf(
            [
                [cover],
                ["The income tax return is due in July."],
            ],
            "Taxes",
        )
    )
    (documents / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    done = run("index", "build", str(folder / "index"), str(documents), "--window-tokens", "16", "--overlap", "0")
    assert done.status == 0, done.stderr
    return Built(folder / "index", documents, done.stderr)


def test_build_says_what_it_did_and_what_it_left_out(built: Built) -> None:
    assert "broken.pdf is not a readable PDF" in built.stderr
    assert "passages of 4 files" in built.stderr
    assert "1 left out" in built.stderr
    facts = run("index", "info", str(built.folder), "--json").json()
    assert facts["count"] >= 8
    assert (facts["storage"], facts["dimensions"]) == ("float32", 384)
    assert facts["fingerprint"].startswith("sha256:")


def test_search_finds_what_is_meant(built: Built) -> None:
    queries = {"when must I file my taxes": "tax.pdf", "cooking vegetables": "recipe.txt", "animals": "zoo.html"}
    found = run("index", "search", str(built.folder), *queries, "--top-k", "2", "--json").json()
    assert [one["query"] for one in found] == list(queries)
    for one, name in zip(found, queries.values(), strict=True):
        assert len(one["hits"]) == 2
        assert one["hits"][0]["metadata"]["source"] == str(built.documents / name)
    assert found[0]["hits"][0]["metadata"]["page"] == 2
    assert found[0]["hits"][0]["metadata"]["title"] == "Taxes"
    where = f"source={built.documents / 'garden.md'}"
    [only] = run("index", "search", str(built.folder), "taxes", "--where", where, "--json").json()
    assert {hit["metadata"]["source"] for hit in only["hits"]} == {str(built.documents / "garden.md")}


def test_a_pipe_gets_lines_and_may_ask_by_lines(built: Built) -> None:
    done = run("index", "search", str(built.folder), "-k", "1", typed="mashed potatoes\n\nopening hours\n")
    assert done.status == 0, done.stderr
    first, second = (line.split("\t") for line in done.stdout.splitlines())
    assert first[0] == "mashed potatoes"
    assert float(first[1]) > 0.3
    assert "recipe.txt" in first[2]
    assert "zoo.html" in second[2]


def test_a_line_that_is_not_utf8_is_named(built: Built) -> None:
    program = [sys.executable, "-c", "from embedrouter.cli import main; main()", "index", "search", str(built.folder)]
    done = subprocess.run(program, input=b"potatoes\ncaf\xe9\n", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"standard input: line 2 is not UTF-8 (byte 4 is 0xe9)" in done.stderr


def test_a_terminal_is_asked_until_ctrl_d(built: Built) -> None:
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", "from embedrouter.cli import main; main()", "index", "search", str(built.folder)]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8:strict"}
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        typed = [b"potatoes\xff\n", b"mashed potatoes\n", b"\x04"]
        asked = 0
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if asked < len(typed) and shown.count(b"search> ") > asked:
                os.write(ours, typed[asked])
                asked += 1
        assert process.wait(30) == 0, shown
    os.close(ours)
    text = shown.decode(errors="replace")
    assert "Ctrl-D ends" in text
    assert "is not UTF-8" in text  # the next query is asked for all the same
    assert "score" in text
    assert "recipe.txt" in text


def test_two_commands_do_not_change_an_index_at_once(tmp_path: Path) -> None:
    index, first, second = tmp_path / "index", tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("text\nA red bicycle.\n")
    second.write_text("text\nA blue boat.\n")
    assert run("index", "build", str(index), str(first)).status == 0
    with changing(index):
        for change in (["add", str(index), str(second)], ["delete", str(index), "--source", str(first)]):
            assert "another run is writing to" in run("index", *change).refusal()
    assert run("index", "add", str(index), str(second), "--json").json()["count"] == 2


def test_a_file_whose_name_is_not_text_is_left_out(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.md").write_text("A red bicycle.")
    try:
        (documents / "caf\udce9.md").write_text("A blue boat.")
    except OSError:
        pytest.skip(reason="this file system takes only names in UTF-8")
    done = run("index", "build", str(tmp_path / "index"), str(documents))
    assert "caf\\udce9.md is not UTF-8: rename it" in done.stderr
    assert "1 left out" in done.stderr
    named = run("index", "build", str(tmp_path / "other"), str(documents / "caf\udce9.md")).refusal()
    assert "is not UTF-8: rename it" in named


def test_add_replaces_and_delete_deletes_what_a_file_had(built: Built, tmp_path: Path) -> None:
    index, file = tmp_path / "index", tmp_path / "rows.csv"
    file.write_text("id,text,year\n1,A red bicycle.,2020\n2,A blue boat.,2021\n3,A green train.,2020\n")
    first = run("index", "build", str(index), str(file), "--storage", "int8", "--json").json()
    assert (first["passages"], first["count"]) == (3, 3)
    assert "--replace" in run("index", "add", str(index), str(file)).refusal()
    file.write_text("id,text,year\n1,A red bicycle.,2020\n4,A grey plane.,2022\n")
    second = run("index", "add", str(index), str(file), "--replace", "--json").json()
    assert (second["passages"], second["replaced"], second["count"]) == (2, 3, 2)
    [asked] = run("index", "search", str(index), "aircraft", "--where", "year=2022", "--json").json()
    assert [(hit["text"], hit["metadata"]["id"]) for hit in asked["hits"]] == [("A grey plane.", "4")]
    gone = run("index", "delete", str(index), "--where", "year=2020", "--where", "year=2021", "--json").json()
    assert gone == {"deleted": 1, "left": 1}
    assert run("index", "delete", str(index), "--source", str(file), "--json").json()["left"] == 0


def test_recall_is_measured_on_demand(built: Built) -> None:
    assert run("index", "info", str(built.folder), "--measure", "--json").json()["count"] >= 8
    assert "recall@10" in run("index", "info", str(built.folder), "--measure").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "{index}", "{documents}"], "--overwrite"),
        (["build", "{documents}", "{documents}"], "other files"),
        (["build", "{new}", "{documents}/none.txt"], "none.txt"),
        (["build", "{new}", "{documents}", "--window-tokens", "3"], "8 to 8,192"),
        (["build", "{new}", "{documents}/broken.pdf", "--strict"], "broken.pdf"),
        (["search", "{documents}", "x"], "index.json"),
        (["search", "{index}", "x", "--where", "year"], "field=value"),
        (["search", "{index}", " "], "empty"),
        (["delete", "{index}"], "--source"),
        (["info", "{new}"], "index.json"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    built: Built, tmp_path: Path, arguments: list[str], words: str
) -> None:
    places = {"index": built.folder, "documents": built.documents, "new": tmp_path / "new"}
    assert words in run("index", *(word.format(**places) for word in arguments)).refusal()
    assert not (tmp_path / "new").exists()


def test_long_rows_are_cut_where_the_index_was_built_so(tmp_path: Path) -> None:
    rows, more, index = tmp_path / "rows.jsonl", tmp_path / "more.jsonl", str(tmp_path / "index")
    end = "The harbour is full of sailing boats."
    rows.write_text(json.dumps({"text": "cooking with garlic. " * 90 + end * 60}) + "\n")
    more.write_text(json.dumps({"text": "roast potatoes. " * 90 + end * 60}) + "\n")
    for truncate, sees_the_end in (("--truncate", False), (None, True)):
        options = [truncate] if truncate else []
        assert run("index", "build", index, str(rows), "--overwrite", *options).status == 0
        assert run("index", "add", index, str(more)).status == 0
        [asked] = run("index", "search", index, end, "--json").json()
        scores = [hit["score"] for hit in asked["hits"]]
        assert len(scores) == 2
        assert all((score > 0.3) is sees_the_end for score in scores), scores


def test_rows_that_are_too_long_are_refused_where_they_are_not_to_be_cut(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "word " * 400}) + "\n")
    told = run("index", "build", str(tmp_path / "index"), str(file), "--no-truncate").refusal()
    assert "rows.jsonl: row 1" in told
    assert not (tmp_path / "index").exists()


def test_a_long_row_is_named(built: Built, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("short", "word " * 9000)))
    told = run("index", "build", str(tmp_path / "index"), str(file)).refusal()
    assert "rows.jsonl: row 2 has 9,002 tokens, the limit is 8,192: cut long rows into passages with --split" in told
