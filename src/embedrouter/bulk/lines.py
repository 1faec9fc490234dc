"""Lines of bytes from a file, a compressed file or standard input, numbered and of bounded length."""

import gzip
import sys
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self, cast

from embedrouter.bulk import storage
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.errors import InvalidRequestError

MAX_LINE = 64 << 20  # bytes: a file without line ends, or with a quote never closed, must not fill the memory
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LineFile:
    """Iterates over (1-based number, line with its end) once; knows how many of its bytes on disk were read."""

    def __init__(self, place: Place[SourceFormat]) -> None:
        """Raises InvalidRequestError when the file cannot be opened."""
        self.name = place.name
        self._owned: list[BinaryIO] = []
        self.offset = 0  # bytes of the lines that were read, decompressed
        self.number = 0  # lines that were read
        if place.location is None:
            self.total: int | None = None  # bytes on disk
            self._stream: BinaryIO = sys.stdin.buffer
            return
        raw = storage.open_input(place.location)
        self._owned.append(raw)
        self.total = size_of(place.location)
        self._raw = raw
        self._stream = raw
        if place.gzip:
            self._stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="rb"))
            self._owned.insert(0, self._stream)

    def position(self) -> int:
        """Bytes on disk read so far; 0 where there is no telling."""
        return self._raw.tell() if self.total is not None else 0

    def go_to(self, offset: int, number: int) -> None:
        """Go on from a place where `offset` and `number` were these."""
        try:
            self._stream.seek(offset)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidRequestError(f"cannot read {self.name} past line {number}: {error}") from error
        self.offset, self.number = offset, number

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while line := self._readline(self.number + 1):
            self.number += 1
            self.offset += len(line)
            yield self.number, line.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else line

    def _readline(self, number: int) -> bytes:
        try:
            line = self._stream.readline(MAX_LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidRequestError(f"cannot read {self.name} past line {number - 1}: {error}") from error
        if len(line) > MAX_LINE:
            raise InvalidRequestError(f"{self.name}: line {number} is longer than {MAX_LINE >> 20} MiB")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for stream in self._owned:
            stream.close()


def decoded(line: bytes, number: int, file: str) -> str:
    """A line as text. Raises InvalidRequestError naming the line when it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"
        raise InvalidRequestError(
            f"{file}: line {number} is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x}); "
            f"convert the file first, for example: iconv -f {encoding} -t UTF-8"
        ) from error


def size_of(location: str) -> int | None:
    """Bytes of a file; None for a pipe, which can be read only once."""
    found = storage.entry(location)
    return found.size if found is not None and found.kind == "file" else None
