from pathlib import Path

import numpy as np
import pytest

from embedrouter.bulk import scratch as room
from embedrouter.bulk.scratch import rows_of, scratch


def test_few_vectors_lie_in_memory_and_many_in_a_file_that_is_gone_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    few, many = scratch(100, 4), scratch(101, 4)
    assert (type(few).__name__, few.dtype.name) == ("ndarray", "float32")
    assert (type(many).__name__, many.dtype.name) == ("memmap", "float16")
    assert list(tmp_path.iterdir()) == []
    many[:] = np.arange(404).reshape(101, 4)
    assert many.sum(dtype=np.float64) == 403 * 404 / 2


@pytest.mark.parametrize("most", [2, 100])
def test_rows_are_taken_in_order_and_all_of_them_are_not_copied(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "IN_MEMORY", most)
    vectors = scratch(5, 3)
    vectors[:] = np.arange(15).reshape(5, 3)
    assert rows_of(vectors, np.arange(5)) is vectors
    assert rows_of(vectors, np.array([0, 2, 4])).tolist() == [[0, 1, 2], [6, 7, 8], [12, 13, 14]]
