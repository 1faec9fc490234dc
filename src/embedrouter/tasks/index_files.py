"""An index on disk: a folder with index.json and a subfolder of files that it names.

A new save writes a subfolder of its own, then index.json takes its place in one step, then the old subfolder goes.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.content import Content
from embedrouter.tasks.copies import Copies
from embedrouter.tasks.hnsw import Graph
from embedrouter.tasks.ids import Ids
from embedrouter.tasks.records import Records
from embedrouter.tasks.storage import Storage, VectorStore

FACTS: Final = "index.json"
FORMAT: Final = 1
_PREFIX: Final = "data-"
_VECTORS: Final = "vectors.npy"
_ENDS: Final = "ends.npy"
_GRAPH: Final = "graph.usearch"
_COPIES: Final = "copies.npz"
_MAPPED: Final = 256 * 2**20  # bytes of vectors


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known before anything else is read."""

    format: int = FORMAT
    dimensions: int
    storage: Storage
    kind: Literal["auto", "exact", "hnsw"]
    fingerprint: str | None
    graph_from: int
    next_id: int
    recall: float | None
    folder: str = ""  # that holds the arrays
    sizes: dict[str, int] = {}  # bytes of each file in it


def save(folder: Path, facts: Facts, content: Content) -> None:
    """Write it, so that a crash at any moment leaves the old one or the new one. Raises InvalidRequestError."""
    name = f"{_PREFIX}{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_others(folder)
        (folder / name).mkdir()
        try:
            sizes = _write_content(folder / name, content)
            facts = msgspec.structs.replace(facts, folder=name, sizes=sizes)
            _write(folder / name / FACTS, lambda file: file.write(msgspec.json.format(msgspec.json.encode(facts))))
            _sync(folder / name)
            (folder / name / FACTS).replace(folder / FACTS)
            _sync(folder)
        except BaseException:
            shutil.rmtree(folder / name, ignore_errors=True)
            raise
    except OSError as error:
        raise InvalidRequestError(f"cannot write the index into {folder}: {error.strerror}") from error
    for old in folder.glob(f"{_PREFIX}*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def load(folder: Path, mapped: bool | None, threads: int) -> tuple[Facts, Content]:
    """Read it. Raises InvalidRequestError naming what is wrong."""
    facts = read_facts(folder)
    try:
        return facts, _read_content(folder / facts.folder, facts, mapped, threads)
    except InvalidRequestError:
        newer = read_facts(folder)
        if newer.folder == facts.folder:
            raise
    # It was saved again while we read.
    return newer, _read_content(folder / newer.folder, newer, mapped, threads)


def read_facts(folder: Path) -> Facts:
    """What index.json says. Raises InvalidRequestError when there is none, or not of this format."""
    path = folder / FACTS
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{folder} holds no index: {path}: {error.strerror}") from error
    try:
        facts = msgspec.json.decode(raw, type=Facts)
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"{path} is not an index of embedrouter: {error}") from error
    if facts.format != FORMAT:
        raise InvalidRequestError(f"{path} has format {facts.format}, and this version reads {FORMAT}")
    if Path(facts.folder).name != facts.folder or not facts.folder.startswith(_PREFIX):
        raise InvalidRequestError(f"{path} names a folder that is none of an index's")
    return facts


def _refuse_others(folder: Path) -> None:
    if (folder / FACTS).exists():
        read_facts(folder)
    elif any(not one.name.startswith(_PREFIX) for one in folder.iterdir()):
        raise InvalidRequestError(f"{folder} holds other files and no index: name a new or empty folder")


def _write_content(place: Path, content: Content) -> dict[str, int]:
    ids, records = content.ids, content.records
    writers: dict[str, Callable[[BinaryIO], object]] = {
        "ids.npy": lambda file: np.save(file, ids.ids),
        "alive.npy": lambda file: np.save(file, ids.alive),
        "records.npy": records.content.write,
        _ENDS: records.ends.write,
        _VECTORS: content.vectors.column.write,
    }
    for name, write in writers.items():
        _write(place / name, write)
    graph = content.graph
    if graph is not None:
        _write(place / _COPIES, lambda file: graph.save(place / _GRAPH, file))
        _sync(place / _GRAPH)
    return {path.name: path.stat().st_size for path in place.iterdir()}


def _read_content(place: Path, facts: Facts, mapped: bool | None, threads: int) -> Content:
    for name, size in facts.sizes.items():
        path = place / name
        if not path.is_file():
            raise InvalidRequestError(f"{path} is missing: the index cannot be read")
        if path.stat().st_size != size:
            raise InvalidRequestError(f"{path} has {path.stat().st_size:,} bytes, not {size:,}: it is damaged")
    large = facts.sizes.get(_VECTORS, 0) > _MAPPED
    vectors = _array(place / _VECTORS, facts.storage, mapped=large if mapped is None else mapped)
    if vectors.ndim != 2 or vectors.shape[1] != facts.dimensions:
        raise InvalidRequestError(f"{place / _VECTORS} does not hold vectors of {facts.dimensions} dimensions")
    ids = Ids(_array(place / "ids.npy", "int64"), _array(place / "alive.npy", "bool"), facts.next_id)
    records = Records(_array(place / "records.npy", "uint8"), _array(place / _ENDS, "int64"))
    if not len(ids) == len(ids.alive) == len(records) == len(vectors):
        raise InvalidRequestError(f"the files of {place} do not belong together")
    content = Content(VectorStore(facts.dimensions, facts.storage, vectors), records, ids)
    if _GRAPH in facts.sizes:
        graph = Graph(facts.dimensions, threads)
        graph.load(place / _GRAPH, Copies.load(place / _COPIES))
        if len(graph) != len(content):
            raise InvalidRequestError(f"the files of {place} do not belong together")
        content.graph = graph
    return content


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    with path.open("xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _array(path: Path, dtype: str, *, mapped: bool = False) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidRequestError(f"{path} cannot be read: {error}") from error
    if array.dtype != dtype:
        raise InvalidRequestError(f"{path} holds {array.dtype}, not {dtype}")
    return array


def _sync(path: Path) -> None:
    # Some file systems cannot sync a folder.
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
