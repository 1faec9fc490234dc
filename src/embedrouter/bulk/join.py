"""The files of all shards put together into one output."""

import shutil
from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

import numpy as np
import pyarrow.parquet as pq
from numpy.lib import format as npy

from embedrouter.bulk import storage
from embedrouter.bulk.shards import Done, Plan, shard_name
from embedrouter.bulk.writers import parquet_file
from embedrouter.errors import InvalidRequestError

_COPY = 8 << 20


def join(folder: str, plan: Plan, done: Sequence[Done], stream: BinaryIO) -> None:
    """Write the output that the shards in `folder` make, in their order.

    Raises InvalidRequestError when a shard's file cannot be read.
    """
    locations = [storage.child(folder, shard_name(plan, one.number)) for one in done]
    try:
        if plan.choices.output_format == "parquet":
            _join_parquet(locations, stream)
            return
        if plan.choices.output_format == "npy":
            stream.write(_npy_header(plan, sum(one.rows for one in done)))
        for location in locations:  # JSON lines follow each other, also compressed, and so do bare vectors
            with storage.open_input(location) as part:
                shutil.copyfileobj(part, stream, _COPY)
    except ValueError as error:
        raise InvalidRequestError(f"a shard in {storage.shown(folder)} is damaged: {error}; --restart") from error


def _join_parquet(locations: Sequence[str], stream: BinaryIO) -> None:
    """One file with the row groups of all, in order: some 2 % of the time that computing their vectors took."""
    with storage.open_input(locations[0]) as first:
        schema = pq.read_schema(first)
    with parquet_file(stream, schema) as whole:
        for location in locations:
            with storage.open_input(location) as part, pq.ParquetFile(part, pre_buffer=False) as file:
                if file.schema_arrow != schema:
                    raise ValueError(f"{location} has other columns")
                for number in range(file.num_row_groups):
                    table = file.read_row_group(number)
                    whole.write_table(table, row_group_size=max(1, table.num_rows))


def _npy_header(plan: Plan, rows: int) -> bytes:
    buffer = BytesIO()
    kind = np.dtype(plan.choices.vectors_type).newbyteorder("<").str
    npy.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": (rows, plan.dimensions)})
    return buffer.getvalue()
