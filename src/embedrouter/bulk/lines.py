"""Lines of bytes from a file, a compressed file or standard input, numbered and of bounded length."""

import gzip
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.errors import InvalidRequestError

MAX_LINE = 64 << 20  # bytes: a file without line ends, or with a quote never closed, must not fill the memory
_BUFFER = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LineFile:
    """Iterates over (1-based number, line with its end) once; knows how many of its bytes on disk were read."""

    def __init__(self, place: Place[SourceFormat]) -> None:
        """Raises InvalidRequestError when the file cannot be opened."""
        self.name = place.name
        self._owned: list[BinaryIO] = []
        if place.path is None:
            self.total: int | None = None  # bytes on disk
            self._stream: BinaryIO = sys.stdin.buffer
            return
        raw = open_regular(place.path)
        self._owned.append(raw)
        self.total = size_of(raw)
        self._raw = raw
        self._stream = raw
        if place.gzip:
            self._stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="rb"))
            self._owned.insert(0, self._stream)

    def position(self) -> int:
        """Bytes on disk read so far; 0 where there is no telling."""
        return self._raw.tell() if self.total is not None else 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        while line := self._readline(number + 1):
            number += 1
            yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line

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
        raise InvalidRequestError(
            f"{file}: line {number} is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x}); "
            "convert the file first, for example: iconv -f LATIN1 -t UTF-8"
        ) from error


def open_regular(path: Path) -> BinaryIO:
    """The file opened for reading, with a large buffer. Raises InvalidRequestError."""
    try:
        return path.open("rb", buffering=_BUFFER)
    except OSError as error:
        raise InvalidRequestError(f"cannot read {path}: {error.strerror}") from error


def size_of(raw: BinaryIO) -> int | None:
    """Bytes of a regular file; None for a pipe."""
    status = os.fstat(raw.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None
