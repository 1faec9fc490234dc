"""Keeping two processes of one machine from changing a folder at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedrouter.errors import InvalidRequestError


def hold(folder: Path | str) -> int:
    """A lock that ends with this process, however it ends: its handle, to be closed.

    Raises InvalidRequestError when another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise InvalidRequestError(f"another run is writing to {folder}: let it end first") from error
    return handle


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Nobody else changes what is in a folder meanwhile; one that is not there yet is nobody's.

    Raises InvalidRequestError when another process does, or when it cannot be read.
    """
    if not folder.is_dir():
        yield
        return
    try:
        handle = hold(folder)
    except OSError as error:
        raise InvalidRequestError(f"cannot read {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(handle)
