"""Output files that appear whole or not at all."""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from embedrouter.errors import InvalidRequestError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def check_target(target: Path, sources: Sequence[Path], *, overwrite: bool) -> Path:
    """Refuse an output that is an input, is there already, or has no folder. Returns it with links followed.

    Raises InvalidRequestError.
    """
    real = Path(os.path.realpath(target))
    if real.exists() and any(source.exists() and real.samefile(source) for source in sources):
        raise InvalidRequestError(f"{target} is the input: name another output")
    if not real.parent.is_dir():
        raise InvalidRequestError(f"there is no folder {target.parent} to write {target.name} in: make it first")
    if real.exists():
        if not real.is_file():
            raise InvalidRequestError(f"{target} is not a regular file; for standard output, write -")
        if not overwrite:
            raise InvalidRequestError(f"{target} exists: name another output, or replace it with --overwrite")
    return real


@contextmanager
def replacing(target: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A hidden file beside `target` that takes its place at the end, on disk and in one step.

    On any error, Ctrl-C included, it is removed and `target` is as it was.
    Raises InvalidRequestError when the folder cannot be written, or `target` appeared meanwhile.
    """
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        stream = temporary.open("xb")
    except OSError as error:
        raise InvalidRequestError(f"cannot write in {target.parent}: {error.strerror}") from error
    try:
        with stream:
            if target.exists():
                os.fchmod(stream.fileno(), stat.S_IMODE(target.stat().st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        check_target(target, (), overwrite=overwrite)
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise InvalidRequestError(f"cannot write {target}: {error.strerror}") from error
        raise
    _sync_folder(target.parent)


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output as bytes, flushed at the end. Raises InvalidRequestError when it is closed, or its disk full."""
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno in _DISK_ERRORS:
            raise output_refused(error) from error
        raise


def output_refused(error: OSError) -> InvalidRequestError:
    """What to say when standard output takes no more; nothing is written to it from here on."""
    # Else the interpreter flushes once more on its way out, and complains.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return InvalidRequestError("standard output was closed before all was written")
    return InvalidRequestError(f"cannot write to standard output: {error.strerror}")


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Raises InvalidRequestError that says that `what` cannot be written, when its disk is full or broken."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise InvalidRequestError(f"cannot write {what}: {error.strerror}") from error
        raise


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the file itself is on disk by now.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
