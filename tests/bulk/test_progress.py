"""What a person sees while a file is embedded."""

import io
from pathlib import Path

import pytest

from embedrouter.bulk import EmbedOptions, embed_file
from embedrouter.bulk.progress import LineMeter, line, meter

from .encoders import HashEncoder


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_every_ten_seconds_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    times = iter([0.0, 4.0, 9.9, 10.0, 15.0, 20.5])
    told = LineMeter(stream, 1000, clock=lambda: next(times))
    counts = []
    for step in range(1, 6):
        told.advance(100, step * 100)
        counts.append(len(stream.getvalue().splitlines()))
    assert counts == [0, 0, 1, 1, 2]
    assert stream.getvalue().splitlines()[0] == "embedding: 300 rows, 30 rows/s, 30 %, about 0:00:23 left"


def test_a_line_without_a_total() -> None:
    assert line(12345, 10.0, 0, None) == "embedding: 12,345 rows, 1,234 rows/s"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with meter(stream, 400, quiet=False) as told:
        told.advance(50, 100)
    assert "25%" in stream.getvalue()
    assert "50 rows" in stream.getvalue()


def test_embedding_moves_the_bar_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    (tmp_path / "in.txt").write_text("line\n" * 100)
    embed_file(HashEncoder(), tmp_path / "in.txt", tmp_path / "out.npy", EmbedOptions(batch_rows=30))
    assert "100%" in stream.getvalue()
    assert "100 rows" in stream.getvalue()


def test_quiet_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    (tmp_path / "in.txt").write_text("line\n")
    embed_file(HashEncoder(), tmp_path / "in.txt", tmp_path / "out.npy", EmbedOptions(quiet=True))
    assert stream.getvalue() == ""
