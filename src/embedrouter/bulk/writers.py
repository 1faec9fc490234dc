"""Writing vectors, with the rows they belong to, batch by batch."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import BinaryIO, Protocol, cast

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from embedrouter.bulk.formats import TargetFormat
from embedrouter.bulk.records import Records
from embedrouter.errors import InvalidRequestError

_GROUP_ROWS = 16_384  # rows of a Parquet row group: 24 MiB of vectors at 384 dimensions
_GROUP_BYTES = 128 << 20  # a row group ends sooner when its columns come to this


class Writer(Protocol):
    """Where the vectors go."""

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:
        """Append rows and their vectors, shape (rows, dimensions)."""

    def finish(self) -> None:
        """Write what is outstanding; the stream stays open. Without it the output is not valid."""

    def abandon(self) -> None:
        """Let go of the stream while it is open; what was written is of no use."""


class ParquetWriter:
    """All columns of the input, then the vectors as fixed_size_list<float32>[dimensions]."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, vector_column: str, dimensions: int) -> None:
        """Raises InvalidRequestError when Parquet has no type for a column."""
        self._schema = schema
        self._vectors = pa.field(vector_column, pa.list_(pa.float32(), dimensions))
        self._waiting: list[pa.Table] = []
        # A dictionary of vectors, and their smallest and largest number, cost time and serve nobody.
        flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
        try:
            self._file = pq.ParquetWriter(
                stream,
                schema.append(self._vectors),
                compression="zstd",
                use_dictionary=flat,  # type: ignore[arg-type]  # the stubs know only bool
                write_statistics=flat,
            )
        except pa.ArrowException as error:
            raise InvalidRequestError(f"a column cannot be written as Parquet: {error}; write JSONL") from error

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
        self._waiting.append(records.to_arrow(self._schema).append_column(self._vectors, column))
        rows = sum(table.num_rows for table in self._waiting)
        if rows >= _GROUP_ROWS or sum(table.nbytes for table in self._waiting) >= _GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._file.close()

    def abandon(self) -> None:
        self._waiting.clear()
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._waiting.clear()
            self._file.write_table(table, row_group_size=max(1, table.num_rows))


class JsonlWriter:
    """Each row as the object it was, with the vector as its last field."""

    def __init__(self, stream: BinaryIO, vector_column: str, *, compress: bool) -> None:
        # No file name and time in the header: the same rows give the same bytes.
        self._gzip = gzip.GzipFile("", "wb", 6, stream, mtime=0) if compress else None
        self._stream = cast("BinaryIO", self._gzip) if self._gzip else stream
        self._joint = b"," + orjson.dumps(vector_column) + b":"

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:
        contiguous = np.ascontiguousarray(vectors)
        self._stream.writelines(
            b"".join((item[:-1], self._joint, orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY), b"}\n"))
            for item, vector in zip(records.to_json(), contiguous, strict=True)
        )

    def finish(self) -> None:
        if self._gzip:
            self._gzip.close()

    def abandon(self) -> None:
        self.finish()


class NpyWriter:
    """The vectors alone, shape (rows, dimensions), float32; row i belongs to the i-th row embedded."""

    def __init__(self, stream: BinaryIO, dimensions: int) -> None:
        self._stream = stream
        self._dimensions = dimensions
        self._rows = 0
        self._header_bytes = stream.write(self._header())

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:  # .npy has no columns
        self._stream.write(np.ascontiguousarray(vectors, dtype="<f4").data)
        self._rows += len(vectors)

    def finish(self) -> None:
        """The number of rows is known only now; numpy's header leaves it room to grow to 21 digits."""
        header = self._header()
        if len(header) != self._header_bytes:
            raise RuntimeError("numpy changed the size of its header")
        self._stream.seek(0)
        self._stream.write(header)
        self._stream.seek(0, 2)

    def abandon(self) -> None:
        pass

    def _header(self) -> bytes:
        buffer = BytesIO()
        shape = (self._rows, self._dimensions)
        npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return buffer.getvalue()


class WriteOptions(msgspec.Struct, frozen=True):
    """What the writers have to know, each its part."""

    schema: pa.Schema | None  # the columns of the input; Parquet alone needs them beforehand
    vector_column: str
    dimensions: int
    gzip: bool


@contextmanager
def open_writer(kind: TargetFormat, stream: BinaryIO, options: WriteOptions) -> Iterator[Writer]:
    """The writer for a format, finished at the end unless an error comes between."""
    writer: Writer
    match kind:
        case "parquet":
            writer = ParquetWriter(stream, options.schema or pa.schema([]), options.vector_column, options.dimensions)
        case "jsonl":
            writer = JsonlWriter(stream, options.vector_column, compress=options.gzip)
        case "npy":
            writer = NpyWriter(stream, options.dimensions)
    try:
        yield writer
        writer.finish()
    except BaseException:
        with suppress(Exception):  # the first error is the one to hear of
            writer.abandon()
        raise
