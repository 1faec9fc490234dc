"""One index in its own process and environment, for index.py: vectors come in as files, neighbours go out as one.

    python index_worker.py SYSTEM VECTORS.npy QUERIES.npy FOUND.npy --links M --add EF --search EF

Vectors are read a block at a time, so that what the process holds at the end is the index.
"""

import argparse
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float32]
Search: TypeAlias = Callable[[Matrix], NDArray[np.int64]]

_BLOCK = 16_384
_TOP = 10
_ALONE = 200  # queries asked one at a time


class Settings(NamedTuple):
    links: int
    add: int
    search: int
    threads: int


def embedrouter(storage: str, blocks: Iterator[Matrix], _: int, settings: Settings) -> tuple[Search, str]:
    from embedrouter.tasks import hnsw
    from embedrouter.tasks.index import Index

    index = Index(storage=storage, kind="hnsw", threads=settings.threads)  # type: ignore[arg-type]
    for block in blocks:
        index.add(block)

    def search(queries: Matrix) -> NDArray[np.int64]:
        return np.array([[hit.id for hit in hits] for hits in index.search(queries, top_k=_TOP)])

    return search, f"M {hnsw.LINKS}, ef {hnsw.WIDTH_ADD}/{hnsw.search_width(len(index))}, usearch {version('usearch')}"


def usearch(dtype: str, blocks: Iterator[Matrix], _: int, settings: Settings) -> tuple[Search, str]:
    from usearch.index import Index

    index = Index(
        ndim=384,
        metric="cos",
        dtype=dtype,
        connectivity=settings.links,
        expansion_add=settings.add,
        expansion_search=settings.search,
    )
    for block in blocks:
        index.add(np.arange(len(index), len(index) + len(block)), block, threads=settings.threads)

    def search(queries: Matrix) -> NDArray[np.int64]:
        found: Any = index.search(queries, _TOP, threads=settings.threads)
        return np.atleast_2d(found.keys).astype(np.int64)

    return search, f"M {settings.links}, ef {settings.add}/{settings.search}, usearch {version('usearch')}"


def faiss(kind: str, blocks: Iterator[Matrix], count: int, settings: Settings) -> tuple[Search, str]:
    import faiss as library  # type: ignore[import-not-found,unused-ignore]

    if settings.threads:
        library.omp_set_num_threads(settings.threads)
    if kind == "hnsw":
        index = library.IndexHNSWFlat(384, settings.links, library.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = settings.add, settings.search
        told = f"M {settings.links}, ef {settings.add}/{settings.search}"
    else:
        cells = int(4 * count**0.5)
        index = library.index_factory(384, f"IVF{cells},Flat", library.METRIC_INNER_PRODUCT)
        index.nprobe = max(1, cells // 32)
        told = f"{cells} cells, {index.nprobe} looked into"
        first = [next(blocks) for _ in range(min(-(-count // _BLOCK), 8))]
        index.train(np.concatenate(first))
        for block in first:
            index.add(block)
        del first
    for block in blocks:
        index.add(block)

    def search(queries: Matrix) -> NDArray[np.int64]:
        found: NDArray[np.int64] = index.search(queries, _TOP)[1]
        return found

    return search, f"{told}, faiss {version('faiss-cpu')}"


SYSTEMS = {"embedrouter": embedrouter, "usearch": usearch, "faiss": faiss}


def version(name: str) -> str:
    return importlib.metadata.version(name)


def held_mib() -> float:
    """Memory of this process that is not a file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


def peak_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system")
    parser.add_argument("vectors", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("found", type=Path)
    parser.add_argument("--links", type=int, required=True)
    parser.add_argument("--add", type=int, required=True)
    parser.add_argument("--search", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    name, _, variant = given.system.partition("-")
    settings = Settings(given.links, given.add, given.search, given.threads)
    vectors = np.load(given.vectors, mmap_mode="r")
    queries = np.load(given.queries)
    blocks = (np.array(vectors[start : start + _BLOCK]) for start in range(0, len(vectors), _BLOCK))
    before, started, cpu = held_mib(), time.monotonic(), time.process_time()
    search, told = SYSTEMS[name](variant, blocks, len(vectors), settings)
    built = time.monotonic() - started
    busy = time.process_time() - cpu
    held = held_mib() - before
    np.save(given.found, search(queries))
    together, alone = [], []
    for _ in range(given.rounds):
        started = time.monotonic()
        search(queries)
        together.append(len(queries) / (time.monotonic() - started))
        started = time.monotonic()
        for query in queries[:_ALONE]:
            search(query[None])
        alone.append(min(_ALONE, len(queries)) / (time.monotonic() - started))
    facts = {"build_s": built, "build_cpu_s": busy, "held_mib": held, "peak_mib": peak_mib(), "settings": told}
    print(json.dumps({**facts, "together": together, "alone": alone, "cores": len(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    main()
