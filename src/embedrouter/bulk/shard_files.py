"""The file of one shard: there whole and on disk, or not there."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk import storage
from embedrouter.bulk.encoding import Encoder, encode, encode_once
from embedrouter.bulk.shards import Done, Shard, Work, shard_name
from embedrouter.bulk.windows import Window, windows
from embedrouter.bulk.writers import WriteOptions, Writer, open_writer


class ShardFile:
    """Takes the windows of one shard, in order."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.rows = 0
        self.skipped = 0

    def write(self, window: Window, vectors: NDArray[np.float32]) -> None:
        """Append the rows of a window; vectors has one row for each."""
        if len(vectors):
            self._writer.write(window.batch.records, vectors)
        self.rows += len(vectors)
        self.skipped += window.skipped


class ShardSink:
    """Opens the file, and tells what was written once it is closed."""

    def __init__(self, work: Work, shard: Shard) -> None:
        self._work = work
        self._shard = shard
        self._done: Done | None = None

    @property
    def done(self) -> Done:
        """What was written; there once `opened` has ended well."""
        if self._done is None:
            raise RuntimeError("the shard is not written yet")
        return self._done

    @contextmanager
    def opened(self) -> Iterator[ShardFile]:
        """Raises InvalidRequestError when the file cannot be written; then there is none."""
        plan = self._work.plan
        writing = WriteOptions(
            plan.arrow_schema(),
            plan.choices.vector_column,
            plan.dimensions,
            plan.choices.gzip,
            plan.choices.vectors_type,
            bare=True,
        )
        location = storage.child(self._work.folder, shard_name(plan, self._shard.number))
        with storage.creating(location) as stream:
            counted = _Counted(stream)
            with open_writer(plan.choices.output_format, cast("BinaryIO", counted), writing) as writer:
                file = ShardFile(writer)
                yield file
        self._done = Done(self._shard.number, file.rows, file.skipped, counted.size, counted.sha256.hexdigest())


def embed_shard(encoder: Encoder, work: Work, shard: Shard) -> Done:
    """Embed one shard into its file, which appears at the end and whole; the same bytes each time.

    Raises InvalidRequestError naming the line or row at fault, and what the encoder raises.
    """
    sink = ShardSink(work, shard)
    with sink.opened() as file:
        compute = encode_once if work.dedupe else encode
        for window in windows(work, [shard]):
            batch = window.batch
            vectors = compute(encoder, batch.values, batch.numbers, work.plan.choices.truncate, window.where)
            file.write(window, vectors)
    return sink.done


class _Counted:
    """A stream that is only ever appended to, with its size and digest."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        written = self._stream.write(data)
        self.sha256.update(data)
        self.size += memoryview(data).nbytes
        return written

    def writelines(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            self.write(line)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._stream.flush()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
