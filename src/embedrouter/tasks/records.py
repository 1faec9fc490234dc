"""What an index knows of each item beside its vector: the text and the metadata, as JSON in one piece of memory."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.column import Column

Metadata: TypeAlias = Mapping[str, Any]
"""What JSON can say."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One item."""

    text: str | None
    metadata: dict[str, Any] | None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)


def encoded(text: str | None, metadata: Metadata | None, number: int) -> bytes:
    """A record as JSON. Raises InvalidRequestError naming the item whose metadata JSON cannot say."""
    try:
        return _ENCODER.encode((text, metadata))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"item {number}: its text or metadata cannot be written as JSON: {error}") from error


class Records:
    """Records by row number."""

    def __init__(self, content: NDArray[np.uint8] | None = None, ends: NDArray[np.int64] | None = None) -> None:
        """content, ends: the first records, which are read only."""
        self.content = Column(np.uint8, (), content)
        self.ends = Column(np.int64, (), ends)  # where each record ends in the content

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def nbytes(self) -> int:
        return self.content.nbytes + self.ends.nbytes

    def append(self, records: list[bytes]) -> None:
        lengths = np.fromiter(map(len, records), np.int64, len(records))
        self.ends.append(len(self.content) + np.cumsum(lengths))
        self.content.append(np.frombuffer(b"".join(records), np.uint8))

    def truncate(self, count: int) -> None:
        """Forget the records from `count` on."""
        self.content.truncate(self._end(count))
        self.ends.truncate(count)

    def raw(self, row: int) -> bytes:
        """A record as JSON."""
        return self.content.slice(self._end(row), self._end(row + 1)).tobytes()

    def __getitem__(self, row: int) -> Record:
        return _DECODER.decode(self.raw(row))

    def between(self, start: int, end: int) -> Iterator[Record]:
        """Records start..end-1, in order."""
        first = self._end(start)
        content = self.content.slice(first, self._end(end)).tobytes()
        at = 0
        for stop in (self.ends.slice(start, end) - first).tolist():
            yield _DECODER.decode(content[at:stop])
            at = stop

    def write(self, content: BinaryIO, ends: BinaryIO) -> None:
        """Write all as two .npy files."""
        self.content.write(content)
        self.ends.write(ends)

    def _end(self, count: int) -> int:
        return int(self.ends.item(count - 1)) if count else 0
