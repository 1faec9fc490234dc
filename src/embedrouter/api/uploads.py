"""A file as a part of a form (multipart/form-data), handed on as it arrives."""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from embedrouter.errors import InvalidRequestError
from embedrouter.fields import bad_field

_LONGEST_FIELD: Final = 4_096  # bytes
_MOST_PARTS: Final = 16


class Field(NamedTuple):
    """A field that is no file."""

    name: str
    value: str


class FileStart(NamedTuple):
    """The field `file` begins; its bytes follow."""

    filename: str


Event = Field | FileStart | bytes


async def form_events(content_type: str | None, pieces: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """What a form holds, in its order. Raises InvalidRequestError; memory: a piece and a field."""
    kind, options = parse_options_header(content_type or "")
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary.isascii() or not 0 < len(boundary) <= 200:
        raise InvalidRequestError("send the file as multipart/form-data, in the field `file`")
    reading = _Form()
    try:
        with PushMultipartParser(boundary, max_segment_count=_MOST_PARTS) as parser:
            async for piece in pieces:
                for found in parser.parse(piece):
                    told = reading.take(found)
                    if told is not None:
                        yield told
    except MultipartError as error:
        raise InvalidRequestError(f"the form is not valid multipart/form-data: {error}") from error


class _Form:
    """What the parser tells, put together."""

    def __init__(self) -> None:
        self._name = ""
        self._value = bytearray()
        self._is_file = False

    def take(self, found: "MultipartSegment | bytearray | bytes | None") -> Event | None:
        """None: nothing is complete yet."""
        if isinstance(found, MultipartSegment):
            self._name, self._is_file, self._value = found.name, found.name == "file", bytearray()
            return FileStart(found.filename or "upload.jsonl") if self._is_file else None
        if found is not None:
            if self._is_file:
                return bytes(found)
            self._value += found
            if len(self._value) > _LONGEST_FIELD:
                raise bad_field(self._name[:40], f"is longer than {_LONGEST_FIELD:,} bytes")
            return None
        if self._is_file:
            return None
        return Field(self._name, self._value.decode("utf-8", "replace"))
