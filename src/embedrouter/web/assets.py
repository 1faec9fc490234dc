"""What frontend/ is built into: scripts, style sheets and icons, by names that change with their content."""

import gzip
import logging
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get

from embedrouter.entrance import PUBLIC
from embedrouter.errors import NotFoundError

log = logging.getLogger(__name__)

BUILT: Final = Path(__file__).parent / "built"

_ENTRY: Final = "src/main.ts"
_ICON: Final = "src/icon.svg"
_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
}
_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


class _Chunk(msgspec.Struct):
    """An entry of Vite's manifest."""

    file: str
    css: list[str] = []


class Built(NamedTuple):
    """What a page's head links to; nothing where nothing was built."""

    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    icon: str | None = None


class Asset(NamedTuple):
    """A file as it is sent."""

    body: bytes
    zipped: bytes | None  # None: not worth it
    media_type: str


def built() -> Built:
    """As it was built last, also while this runs: a stat a page."""
    try:
        changed = (BUILT / "manifest.json").stat().st_mtime_ns
    except OSError:
        changed = 0
    return _read(changed)


@cache
def _read(changed: int) -> Built:
    _asset.cache_clear()
    if not changed:
        log.warning("the pages' scripts and styles are not built: pages are plain; run make assets")
        return Built()
    chunks = msgspec.json.decode((BUILT / "manifest.json").read_bytes(), type=dict[str, _Chunk])
    entry, icon = chunks[_ENTRY], chunks.get(_ICON)
    return Built(
        (f"/assets/{entry.file}",),
        tuple(f"/assets/{name}" for name in entry.css),
        None if icon is None else f"/assets/{icon.file}",
    )


@cache
def _asset(name: str) -> Asset | None:
    path = BUILT / name
    media_type = _TYPES.get(path.suffix)
    if media_type is None or path.parent != BUILT or not path.is_file():
        return None
    body = path.read_bytes()
    zipped = gzip.compress(body, 9, mtime=0)
    return Asset(body, zipped if len(zipped) < len(body) * 0.9 else None, media_type)


@get("/assets/{name:str}", opt=PUBLIC, sync_to_thread=True)
def asset(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    """A file of the build."""
    # Names are asked for by anybody: only those that are there may fill the cache.
    found = _asset(name) if name in _names() else None
    if found is None:
        raise NotFoundError("there is no such file; reload the page that asked for it")
    if found.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.zipped, media_type=found.media_type, headers={**_HEADERS, "Content-Encoding": "gzip"})
    return Response(found.body, media_type=found.media_type, headers=_HEADERS)


def _names() -> set[str]:
    return {path.name for path in BUILT.iterdir()} if BUILT.is_dir() else set()
