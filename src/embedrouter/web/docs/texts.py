"""Which pages the docs have, in which order, and where their Markdown is."""

import re
from pathlib import Path
from typing import Final, NamedTuple

_INSTALLED: Final = Path(__file__).parents[1] / "texts" / "docs"  # in a wheel: its pyproject.toml says so
_BESIDE: Final = Path(__file__).parents[4] / "docs"  # in a clone
FOLDER: Final = _INSTALLED if _INSTALLED.is_dir() else _BESIDE

_FENCED: Final = re.compile(r"^```(\w*)\n.*?^```", re.MULTILINE | re.DOTALL)
_EXAMPLE: Final = re.compile(r"http://(?:localhost|127\.0\.0\.1):8000")
_OTHERS_ADDRESS: Final = frozenset({"nginx", "caddy", "ini"})  # their examples name where the server listens


class Group(NamedTuple):
    """Pages that belong together, in the order to read them."""

    title: str
    names: tuple[str, ...]


GROUPS: Final = (
    Group("Start", ("quickstart", "python", "cli", "demo")),
    Group("Texts and vectors", ("command-tasks", "bulk", "cluster", "search", "clustering", "integrations")),
    Group("API", ("api", "rerank", "batches", "errors", "limits", "keys", "usage", "routing", "caching", "workspaces")),
    Group("Models and providers", ("catalog", "providers", "credentials")),
    Group("Operation", ("deployment", "configuration", "operations", "users")),
    Group("The engine", ("engine", "benchmarks")),
)
NAMES: Final = tuple(name for group in GROUPS for name in group.names)


def read(name: str, address: str) -> str:
    """A page's Markdown; its examples call this server. address: this server's own, without a slash at its end."""
    return localised((FOLDER / f"{name}.md").read_text("utf-8"), address)


def localised(text: str, address: str) -> str:
    """Markdown whose examples name an address that works for the reader."""
    parts: list[str] = []
    at = 0
    for fence in _FENCED.finditer(text):
        parts.append(_EXAMPLE.sub(lambda _: address, text[at : fence.start()]))
        kept = fence[1] in _OTHERS_ADDRESS
        parts.append(fence[0] if kept else _EXAMPLE.sub(lambda _: address, fence[0]))
        at = fence.end()
    return "".join((*parts, _EXAMPLE.sub(lambda _: address, text[at:])))
