"""Writing vectors, with the rows they belong to, batch by batch."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import BinaryIO, Literal, Protocol, cast

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from embedrouter.bulk.formats import TargetFormat, VectorsType
from embedrouter.bulk.records import Records
from embedrouter.errors import InvalidRequestError

_GROUP_ROWS = 16_384  # rows of a Parquet row group: 24 MiB of vectors at 384 dimensions
_GROUP_BYTES = 128 << 20  # a row group ends sooner when its columns come to this

Codec = Literal["gzip", "brotli", "lz4", "zstd", "snappy", "none"]


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

    def __init__(
        self, stream: BinaryIO, schema: pa.Schema, vector_column: str, dimensions: int, vectors_type: VectorsType
    ) -> None:
        """Raises InvalidRequestError when Parquet has no type for a column."""
        self._schema = schema
        number = pa.float16() if vectors_type == "float16" else pa.float32()
        self._vectors = pa.field(vector_column, pa.list_(number, dimensions))
        self._type = np.dtype(vectors_type)
        self._waiting: list[pa.Table] = []
        try:
            self._file = parquet_file(stream, schema.append(self._vectors))
        except pa.ArrowException as error:
            raise InvalidRequestError(f"a column cannot be written as Parquet: {error}; write JSONL") from error

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:
        numbers = pa.array(vectors.astype(self._type, copy=False).ravel())
        column = pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1])
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


def parquet_file(stream: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """A file of these columns, the vectors last. Raises ArrowException when Parquet has no type for a column."""
    columns = schema.remove(len(schema) - 1)
    # A dictionary of vectors, and their smallest and largest number, cost time and serve nobody.
    flat = [field.name for field in columns if not pa.types.is_nested(field.type)]
    return pq.ParquetWriter(
        stream,
        schema,
        # Vectors do not get smaller by it: some 8 %, at a third of the speed.
        compression=_compression(columns),
        use_dictionary=flat,  # type: ignore[arg-type]  # the stubs know only bool
        write_statistics=flat,
    )


def _compression(schema: pa.Schema) -> "dict[str, Codec]":
    """For each column of numbers or texts, also inside others, by the names that Parquet has for them."""
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(buffer, schema):
        pass
    made = pq.read_metadata(pa.BufferReader(buffer.getvalue()))
    return {made.schema.column(index).path: "zstd" for index in range(made.num_columns)}


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
    """The vectors alone, shape (rows, dimensions); row i belongs to the i-th row embedded."""

    def __init__(self, stream: BinaryIO, dimensions: int, vectors_type: VectorsType) -> None:
        self._stream = stream
        self._dimensions = dimensions
        self._type = np.dtype(vectors_type).newbyteorder("<")
        self._rows = 0
        self._header_bytes = stream.write(self._header())

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:  # .npy has no columns
        self._stream.write(np.ascontiguousarray(vectors, self._type).data)
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
        npy.write_array_header_1_0(buffer, {"descr": self._type.str, "fortran_order": False, "shape": shape})
        return buffer.getvalue()


class RawWriter:
    """As NpyWriter without the header, so that files can be put behind each other."""

    def __init__(self, stream: BinaryIO, vectors_type: VectorsType) -> None:
        self._stream = stream
        self._type = np.dtype(vectors_type).newbyteorder("<")

    def write(self, records: Records, vectors: NDArray[np.float32]) -> None:
        self._stream.write(np.ascontiguousarray(vectors, self._type).data)

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass


class WriteOptions(msgspec.Struct, frozen=True):
    """What the writers have to know, each its part."""

    schema: pa.Schema | None  # the columns of the input; Parquet alone needs them beforehand
    vector_column: str
    dimensions: int
    gzip: bool
    vectors_type: VectorsType = "float32"
    bare: bool = False  # a piece of a file, which gets its header when the pieces are joined


@contextmanager
def open_writer(kind: TargetFormat, stream: BinaryIO, options: WriteOptions) -> Iterator[Writer]:
    """The writer for a format, finished at the end unless an error comes between."""
    writer: Writer
    match kind:
        case "parquet":
            schema = options.schema or pa.schema([])
            writer = ParquetWriter(stream, schema, options.vector_column, options.dimensions, options.vectors_type)
        case "jsonl":
            writer = JsonlWriter(stream, options.vector_column, compress=options.gzip)
        case "npy" if options.bare:
            writer = RawWriter(stream, options.vectors_type)
        case "npy":
            writer = NpyWriter(stream, options.dimensions, options.vectors_type)
    try:
        yield writer
        writer.finish()
    except BaseException:
        with suppress(Exception):  # the first error is the one to hear of
            writer.abandon()
        raise
