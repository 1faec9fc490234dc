"""Identical texts are computed once, wherever they stand, and vectors may be halves."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedrouter.bulk import EmbedOptions, embed_file
from embedrouter.errors import InvalidRequestError

from .encoders import FailingEncoder, HashEncoder, PickyEncoder, vectors_of
from .limits import largest_file

# The same text side by side, in one window, in one shard, and far apart; every third only once.
TEXTS = [f"text {n if n % 3 == 0 else n * n % 17}" for n in range(230)]
ONCE = EmbedOptions(quiet=True, shard_rows=20, batch_rows=7, dedupe=True)


def vectors_in(path: Path) -> np.ndarray:
    rows: list[np.ndarray] = list(pq.read_table(path)["embedding"].to_numpy())
    return np.stack(rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": range(len(TEXTS)), "text": TEXTS}), path)
    return path


def test_each_text_is_computed_once(tmp_path: Path, source: Path, encoder: HashEncoder) -> None:
    embed_file(encoder, source, tmp_path / "out.parquet", ONCE)
    assert encoder.texts == len(set(TEXTS))
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == TEXTS
    np.testing.assert_array_equal(vectors_in(tmp_path / "out.parquet"), vectors_of(TEXTS))
    assert len(list(tmp_path.iterdir())) == 2


def test_after_a_crash_each_is_computed_at_most_once_more(tmp_path: Path, source: Path) -> None:
    class Failing(FailingEncoder):
        pass

    Failing.__name__ = "HashEncoder"
    with pytest.raises(KeyboardInterrupt):
        embed_file(Failing(60, KeyboardInterrupt()), source, tmp_path / "out.parquet", ONCE)
    encoder = HashEncoder()
    resumed = embed_file(encoder, source, tmp_path / "out.parquet", ONCE).resumed
    assert 0 < resumed < len(TEXTS)
    assert encoder.texts == len(set(TEXTS[resumed:]))
    np.testing.assert_array_equal(vectors_in(tmp_path / "out.parquet"), vectors_of(TEXTS))


def test_a_full_disk_is_said_plainly(tmp_path: Path, source: Path) -> None:
    with (
        largest_file(8192),
        pytest.raises(InvalidRequestError, match=r"vectors of texts that come again, in .*\.parts"),
    ):
        embed_file(HashEncoder(), source, tmp_path / "out.parquet", ONCE)
    assert sorted(tmp_path.iterdir()) == [source]


def test_a_refused_text_is_named_by_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("same\nsame\nother\nlong\nlong\n")
    with pytest.raises(Exception, match=r"in.txt: line 4 has"):
        embed_file(PickyEncoder(), path, tmp_path / "out.npy", ONCE)


def test_no_text_again_is_no_trouble(tmp_path: Path, encoder: HashEncoder) -> None:
    for count in (0, 1, 50):
        path = tmp_path / f"{count}.txt"
        path.write_text("".join(f"line {n}\n" for n in range(count)))
        assert embed_file(encoder, path, tmp_path / f"{count}.npy", ONCE).rows == count
    assert encoder.texts == 51


@pytest.mark.parametrize("name", ["out.parquet", "out.npy"])
def test_halves(tmp_path: Path, source: Path, encoder: HashEncoder, name: str) -> None:
    options = EmbedOptions(quiet=True, vectors_type="float16", shard_rows=100)
    embed_file(encoder, source, tmp_path / name, options)
    if name == "out.npy":
        found = np.load(tmp_path / name)
    else:
        assert pq.read_schema(tmp_path / name).field("embedding").type == pa.list_(pa.float16(), 384)
        found = vectors_in(tmp_path / name)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, vectors_of(TEXTS).astype(np.float16))


def test_json_has_no_halves(tmp_path: Path, source: Path, encoder: HashEncoder) -> None:
    with pytest.raises(InvalidRequestError, match="JSONL has no float16"):
        embed_file(encoder, source, tmp_path / "out.jsonl", EmbedOptions(quiet=True, vectors_type="float16"))
