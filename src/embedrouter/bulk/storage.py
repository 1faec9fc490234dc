"""Files on disk and in object stores, by location: a path, or a URI such as s3://bucket/name that Arrow knows."""

import hashlib
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from embedrouter.bulk import targets
from embedrouter.errors import InvalidRequestError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_BUFFER = 1 << 20
_ENDS = 65_536  # bytes of the beginning and of the end that identify a file


class Entry(NamedTuple):
    """What stands at a location."""

    kind: Literal["file", "folder", "other"]  # other: a pipe, a device
    size: int  # bytes
    modified: int  # nanoseconds since 1970; 0 where there is no telling


class Identity(msgspec.Struct, frozen=True):
    """A file, to be known again."""

    name: str
    size: int  # bytes
    modified: int  # nanoseconds since 1970
    ends: str  # digest of its first and last 64 KiB

    def same(self, other: "Identity") -> bool:
        """Whether it is the same file, maybe moved."""
        return (self.size, self.modified, self.ends) == (other.size, other.modified, other.ends)


def location_of(given: Path | str) -> str:
    """The location that a person means: file:// is a path, and a path is made absolute. A last / is kept.

    Raises InvalidRequestError for a name that is not UTF-8: manifests, indexes and pages name their files.
    """
    text = str(given)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        plain = text.encode(errors="backslashreplace").decode()
        raise InvalidRequestError(f"the name {plain} is not UTF-8: rename it") from error
    if text.lower().startswith("file://"):
        text = unquote(urlsplit(text).path)
    if is_remote(text):
        return text
    return str(Path(text).absolute()) + ("/" if text.endswith("/") and text.strip("/") else "")


def is_remote(location: str) -> bool:
    """Whether it is in an object store."""
    return _REMOTE.match(location) is not None


def shown(location: str) -> str:
    """A location for people and for the disk: without the keys that a URI may carry."""
    if not is_remote(location):
        return location
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_folder_name(location: str) -> bool:
    """Whether it is written as a folder: with a slash at its end."""
    return (urlsplit(location).path if is_remote(location) else location).endswith("/")


def child(folder: str, name: str) -> str:
    """The location of a name in a folder."""
    if not is_remote(folder):
        return str(Path(folder, name))
    parts = urlsplit(folder)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def split(location: str) -> tuple[str, str]:
    """The folder of a URI, and the name in it."""
    parts = urlsplit(location)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return urlunsplit(parts._replace(path=folder or "/")), name


def hidden_sibling(location: str, suffix: str) -> str:
    """`.NAME` with a suffix, in the same folder."""
    if not is_remote(location):
        path = Path(location)
        return str(path.with_name(f".{path.name[:200]}{suffix}"))
    folder, name = split(location)
    return child(folder, f".{name}{suffix}")


def entry(location: str) -> Entry | None:
    """What is there; None for nothing. Raises InvalidRequestError when there is no telling."""
    if is_remote(location):
        return _remote_entry(location)
    path = Path(location)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidRequestError(f"cannot read {location}: {error.strerror}") from error
    kind: Literal["file", "folder", "other"] = "file" if path.is_file() else "folder" if path.is_dir() else "other"
    return Entry(kind, status.st_size, status.st_mtime_ns)


def names_in(folder: str) -> list[str]:
    """The names in a folder, sorted. Raises InvalidRequestError."""
    try:
        if not is_remote(folder):
            return sorted(path.name for path in Path(folder).iterdir())
        from pyarrow.fs import FileSelector

        files, path = _remote(folder)
        return sorted(info.base_name for info in files.get_file_info(FileSelector(path.rstrip("/"))))
    except OSError as error:
        raise InvalidRequestError(f"cannot read {shown(folder)}: {_reason(error)}") from error


def open_input(location: str) -> BinaryIO:
    """The file opened for reading at any place, with a large buffer. Raises InvalidRequestError."""
    try:
        if not is_remote(location):
            return Path(location).open("rb", buffering=_BUFFER)
        files, path = _remote(location)
        return io.BufferedReader(files.open_input_file(path), _BUFFER)  # type: ignore[type-var]  # it has readinto
    except OSError as error:
        raise InvalidRequestError(f"cannot read {shown(location)}: {_reason(error)}") from error


def identity(location: str) -> Identity:
    """What the file is known by. Raises InvalidRequestError."""
    found = entry(location)
    with open_input(location) as stream:
        size, modified = (found.size, found.modified) if found else (0, 0)
        ends = hashlib.blake2b(stream.read(_ENDS), digest_size=16)
        stream.seek(max(0, size - _ENDS))
        ends.update(stream.read(_ENDS))
    return Identity(shown(location), size, modified, ends.hexdigest())


@contextmanager
def creating(location: str) -> Iterator[BinaryIO]:
    """A file that appears at its location at the end and whole, in place of what was there.

    Raises InvalidRequestError when it cannot be written, also for a full disk.
    """
    if not is_remote(location):
        with targets.replacing(Path(location), overwrite=True) as stream:
            yield stream
        return
    files, path = _remote(location)
    try:
        stream = cast("BinaryIO", files.open_output_stream(path))
    except OSError as error:
        raise InvalidRequestError(f"cannot write {shown(location)}: {_reason(error)}") from error
    try:
        yield stream
    except BaseException:
        with suppress(OSError):  # Arrow cannot give an upload up: it is ended, and removed
            stream.close()
            files.delete_file(path)
        raise
    try:
        stream.close()  # an object appears now
    except OSError as error:
        raise InvalidRequestError(f"cannot write {shown(location)}: {_reason(error)}") from error


def make_folder(location: str) -> None:
    """A folder, unless it is there. Raises InvalidRequestError."""
    try:
        if not is_remote(location):
            Path(location).mkdir(exist_ok=True)
        # An object store has no folders: they are the names of what is in them.
    except OSError as error:
        raise InvalidRequestError(f"cannot make the folder {location}: {_reason(error)}") from error


def remove(location: str) -> None:
    """Remove a file, if it is there."""
    if not is_remote(location):
        Path(location).unlink(missing_ok=True)
        return
    files, path = _remote(location)
    with suppress(FileNotFoundError):
        files.delete_file(path)


def remove_folder(location: str) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if not is_remote(location):
        shutil.rmtree(location, ignore_errors=True)
        return
    files, path = _remote(location)
    with suppress(FileNotFoundError):
        files.delete_dir(path.rstrip("/"))


def _remote_entry(location: str) -> Entry | None:
    from pyarrow.fs import FileType

    files, path = _remote(location)
    try:
        info = files.get_file_info(path.rstrip("/"))
    except OSError as error:
        raise InvalidRequestError(f"cannot read {shown(location)}: {_reason(error)}") from error
    if info.type == FileType.NotFound:
        return None
    return Entry("file" if info.type == FileType.File else "folder", info.size or 0, info.mtime_ns or 0)


def _remote(location: str) -> "tuple[FileSystem, str]":
    """The file system of a location, and the path in it. Raises InvalidRequestError."""
    parts = urlsplit(location)
    files = _file_system(urlunsplit(parts._replace(path="/")))
    return files, unquote(f"{parts.netloc.rpartition('@')[2]}{parts.path}")


@lru_cache(maxsize=8)
def _file_system(root: str) -> "FileSystem":
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    try:
        return FileSystem.from_uri(root)[0]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidRequestError(f"cannot reach {shown(root)}: {error}") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
