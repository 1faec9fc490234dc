"""embedrouter usage, beside no server at all."""

import csv
import io
import json
import time
from pathlib import Path

import pytest

from ledger.sums import DAY, Books, opened
from server import cli

_NOW = time.time_ns() // 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(f"sqlite:///{tmp_path / 'embedrouter.db'}") as books:
        _fill(books)
    return tmp_path


def _fill(books: Books) -> None:
    evil = books.new_key("=evil()")
    books.used(_NOW, prompt_tokens=10)
    books.used(_NOW - DAY, prompt_tokens=20, key=evil, model="model-b", inputs=2)
    books.used(_NOW - 40 * DAY, prompt_tokens=40)


def test_by_model(folder: Path) -> None:
    done = cli("usage", "--data-dir", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert [(line["name"], line["requests"], line["tokens"], line["usd"]) for line in json.loads(done.stdout)] == [
        ("model-b-2026", 1, 20, "0.0000001"),
        ("model-a-2026", 1, 10, "0.00000005"),
    ]


def test_by_day_of_a_zone(folder: Path) -> None:
    done = cli("usage", "--data-dir", folder, "--by", "day", "--days", 60, "--timezone", "Asia/Kathmandu", "--json")
    lines = json.loads(done.stdout)
    assert [line["tokens"] for line in lines] == [40, 20, 10]
    assert [line["name"] for line in lines] == sorted(line["name"] for line in lines)


def test_as_csv_that_runs_nothing(folder: Path) -> None:
    done = cli("usage", "--data-dir", folder, "--by", "key", "--csv")
    header, *rows = csv.reader(io.StringIO(done.stdout))
    assert header == ["key", "requests", "failures", "inputs", "tokens", "usd", "latency_ms"]
    assert [row[0] for row in rows] == ["'=evil()", "main"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [(["--timezone", "Mars/Olympus"], "IANA"), (["--json", "--csv"], "not both"), (["--by", "colour"], "--by")],
)
def test_what_is_wrong_is_told(folder: Path, flags: list[str], told: str) -> None:
    done = cli("usage", "--data-dir", folder, *flags)
    assert done.returncode == 2
    assert told in done.stderr


def test_without_a_database_it_makes_none(tmp_path: Path) -> None:
    done = cli("usage", "--data-dir", tmp_path)
    assert done.returncode == 2
    assert "there is no database" in done.stderr
    assert not list(tmp_path.iterdir())
