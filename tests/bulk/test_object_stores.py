"""Inputs and outputs in an object store, through Arrow's own client."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedrouter.bulk import EmbedOptions, embed_file
from embedrouter.errors import InvalidRequestError

from .encoders import FailingEncoder, HashEncoder
from .object_store import ObjectStore, object_store

ROWS = [{"id": n, "text": f"text {n}"} for n in range(105)]
OPTIONS = EmbedOptions(quiet=True, shard_rows=20, batch_rows=7)


class Failing(FailingEncoder):
    """Known by the name of the encoder that goes on."""


Failing.__name__ = "HashEncoder"


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(running: ObjectStore) -> ObjectStore:
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), data)
    running.objects = {
        "bucket/in.parquet": data.getvalue(),
        "bucket/in.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    }
    return running


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl"])
def test_a_folder_of_shards_in_a_store_goes_on(store: ObjectStore, name: str) -> None:
    source, target = store.uri(f"bucket/{name}"), store.uri("bucket/deep/out/")
    with pytest.raises(KeyboardInterrupt):
        embed_file(Failing(60, KeyboardInterrupt()), source, target, OPTIONS)
    assert "bucket/deep/out/_manifest.jsonl" in store.objects
    report = embed_file(HashEncoder(), source, target, OPTIONS)
    assert 0 < report.resumed < report.rows == len(ROWS)
    parts = sorted(path for path in store.objects if "part-" in path)
    tables = [pq.read_table(io.BytesIO(store.objects[path])) for path in parts]
    assert pa.concat_tables(tables).drop_columns("embedding").to_pylist() == ROWS
    assert not store.uploads
    assert b"secret-key" not in b"".join(store.objects.values())


def test_one_file_in_a_store(store: ObjectStore, tmp_path: Path) -> None:
    target = store.uri("bucket/out.parquet")
    embed_file(HashEncoder(), store.uri("bucket/in.jsonl"), target, OPTIONS)
    embed_file(HashEncoder(), store.uri("bucket/in.jsonl"), tmp_path / "out.parquet", OPTIONS)
    assert store.objects["bucket/out.parquet"] == (tmp_path / "out.parquet").read_bytes()
    assert [path for path in store.objects if ".parts" in path] == []
    with pytest.raises(InvalidRequestError, match=r"s3://bucket/out.parquet exists") as caught:
        embed_file(HashEncoder(), store.uri("bucket/in.jsonl"), target, OPTIONS)
    assert "secret" not in str(caught.value)


def test_what_is_not_there_is_said_without_the_keys(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"cannot read s3://bucket/missing.parquet") as caught:
        embed_file(HashEncoder(), store.uri("bucket/missing.parquet"), tmp_path / "out.npy", OPTIONS)
    assert "secret" not in str(caught.value)
