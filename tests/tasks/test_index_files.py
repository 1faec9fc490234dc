"""An index on disk: whole or not at all, and never another's."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedrouter.errors import ConflictError, InvalidRequestError
from embedrouter.tasks.index import Index

from .directions import Matrix, bunches

VECTORS = bunches(300, 16)
FILES = ("vectors.npy", "records.npy", "ends.npy", "ids.npy", "alive.npy", "graph.usearch", "copies.npz")


class Named:
    """A model that says who it is; its vectors are of no use."""

    dimensions = 16

    def __init__(self, name: str) -> None:
        self.fingerprint = name

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> NDArray[np.float32]:
        return bunches(len(inputs), 16)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    index = Index(16, kind="hnsw", threads=1)
    index.add(VECTORS, texts=[f"text {row}" for row in range(300)])
    index.delete([5])
    index.save(tmp_path / "index")
    return tmp_path / "index"


def ids(index: Index, vectors: Matrix = VECTORS) -> list[int]:
    return [hits[0].id for hits in index.search(vectors, top_k=1)]


@pytest.mark.parametrize("mapped", [True, False])
def test_a_loaded_index_goes_on_where_it_was(saved: Path, mapped: bool) -> None:
    index = Index.load(saved, mapped=mapped)
    assert len(index) == 299
    assert (index.info().bytes_mapped > 0) is mapped
    assert ids(index)[6:] == list(range(6, 300))
    assert index.search(VECTORS[8:9], top_k=1)[0][0].text == "text 8"
    assert index.add(VECTORS[5:6], texts=["again"]) == [300]
    index.save(saved)  # over the files it reads
    again = Index.load(saved, mapped=mapped)
    assert ids(again)[5] == 300
    assert ids(index)[5] == 300
    assert len(list(saved.iterdir())) == 2


def test_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    index = Index(16, encoder=Named("model one;precision=float32"))
    index.add(["a", "b"])
    index.save(tmp_path / "index")
    same = Index.load(tmp_path / "index", Named("model one;precision=bfloat16"))
    same.add(["c"])
    with pytest.raises(ConflictError, match="vectors of model one;precision=float32, which do not compare"):
        Index.load(tmp_path / "index", Named("model two"))
    with pytest.raises(ConflictError, match="do not compare"):
        Index.load(tmp_path / "index").search(["with the built-in model"])


def test_a_failed_add_does_not_name_the_model() -> None:
    index = Index(16, encoder=Named("model one"))
    with pytest.raises(InvalidRequestError, match="there are 1 items and 2 ids"):
        index.add(["a"], ids=[1, 2])
    assert index.info().fingerprint is None


@pytest.mark.parametrize(
    "name", ["vectors.npy", "records.npy", "ends.npy", "ids.npy", "alive.npy", "graph.usearch", "copies.npz"]
)
def test_a_file_that_was_cut_short_or_lost_is_named(saved: Path, name: str) -> None:
    [path] = saved.glob(f"data-*/{name}")
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    with pytest.raises(InvalidRequestError, match=f"{name} has .* bytes, not .*: it is damaged"):
        Index.load(saved)
    path.unlink()
    with pytest.raises(InvalidRequestError, match=f"{name} is missing"):
        Index.load(saved)


@pytest.mark.parametrize("name", ["vectors.npy", "ids.npy", "graph.usearch", "copies.npz"])
def test_a_file_of_the_right_size_with_something_else_in_it_is_named(saved: Path, name: str) -> None:
    [path] = saved.glob(f"data-*/{name}")
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(InvalidRequestError, match=name):
        Index.load(saved)


def test_other_folders_are_neither_read_nor_written_into(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(InvalidRequestError, match="holds no index"):
        Index.load(tmp_path / "nothing")
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidRequestError, match="holds other files and no index"):
        Index(16).save(tmp_path)
    facts = json.loads((saved / "index.json").read_text())
    for wrong, message in [
        ({**facts, "format": 99}, "has format 99, and this version reads 1"),
        ({**facts, "folder": "../elsewhere"}, "names a folder that is none of an index's"),
        ({"some": "json"}, "is not an index of embedrouter"),
    ]:
        (saved / "index.json").write_text(json.dumps(wrong))
        with pytest.raises(InvalidRequestError, match=message):
            Index.load(saved)
    (saved / "index.json").write_text('{"format": 1,')
    with pytest.raises(InvalidRequestError, match=r"index\.json is not an index of embedrouter"):
        Index.load(saved)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InvalidRequestError, match="cannot write the index into .*: Not a directory"):
        Index(16).save(tmp_path / "file" / "index")


SAVE = """
import sys
import numpy as np
from embedrouter.tasks.index import Index
index = Index.load(sys.argv[1])
index.add(np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32))
print("ready", flush=True)
while True:
    index.save(sys.argv[1])
"""


def test_whenever_a_save_is_killed_an_index_is_there(saved: Path) -> None:
    sizes = set()
    for attempt in range(4):
        with subprocess.Popen([sys.executable, "-c", SAVE, saved], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.011 * attempt)  # any moment is right
            process.kill()
        sizes.add(len(Index.load(saved)))
    assert sizes <= {299 + 400 * n for n in range(5)}
    index = Index.load(saved)
    index.save(saved)
    assert len(list(saved.iterdir())) == 2


def test_a_folder_without_index_json_of_a_first_save_that_was_killed_is_taken(saved: Path) -> None:
    (saved / "index.json").unlink()
    with pytest.raises(InvalidRequestError, match="holds no index"):
        Index.load(saved)
    Index(16).save(saved)
    assert len(Index.load(saved)) == 0
    shutil.rmtree(saved)
