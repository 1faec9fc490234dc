"""Asking an index and showing what was found."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from embedrouter.cli.common import note, plain_text, say
from embedrouter.cli.inputs import place_name, width_of_terminal

if TYPE_CHECKING:
    from embedrouter.tasks.index import Hit, Index

_LINES = 2  # of the terminal, that a snippet may take
_LEAST = 40  # columns


class Searcher:
    """An index with what is asked of it."""

    def __init__(self, index: "Index", model: Any, top_k: int, where: dict[str, list[Any]] | None) -> None:
        self.index = index
        self._model = model
        self._top_k = top_k
        self._where = where

    def json(self, queries: Sequence[str]) -> str:
        """One document: each query with what was found."""
        import msgspec

        found = zip(queries, self._search(queries), strict=True)
        document = [{"query": query, "hits": [hit._asdict() for hit in hits]} for query, hits in found]
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()

    def show(self, queries: Sequence[str]) -> None:
        """A table for each query on a terminal; else lines of score, source and text, parted by tabs."""
        width = width_of_terminal()
        for query, hits in zip(queries, self._search(queries), strict=True):
            if width is None:
                for hit in hits:
                    line = [f"{hit.score:.4f}", place_name(hit.metadata), " ".join((hit.text or "").split())]
                    say("\t".join([query, *line] if len(queries) > 1 else line))
            else:
                if len(queries) > 1:
                    say(f"\n{query}")
                self._table(query, hits, width)

    def _search(self, queries: Sequence[str]) -> list[list["Hit"]]:
        return self.index.search(list(queries), top_k=self._top_k, where=self._where)

    def _table(self, query: str, hits: Sequence["Hit"], width: int) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        from embedrouter.bulk.snippets import snippets

        if not hits:
            say("nothing found")
            return
        room = max(16, width // 4)
        names = [_ending(place_name(hit.metadata), room) for hit in hits]
        room = max(map(len, names))
        column = max(_LEAST, width - room - 14)
        shown = snippets(self._model, query, [hit.text or "" for hit in hits], _LINES * column - 8)
        drawn = Table(box=box.SIMPLE_HEAD)
        drawn.add_column("score", no_wrap=True, justify="right")
        drawn.add_column("source", max_width=room, overflow="fold")
        drawn.add_column("text", overflow="fold")
        for hit, name, snippet in zip(hits, names, shown, strict=True):
            heading = (hit.metadata or {}).get("heading") or (hit.metadata or {}).get("title")
            where = plain_text(name)
            if heading and column > _LEAST:
                where.append("\n").append(plain_text(str(heading)[: 2 * room]).plain, "dim")
            drawn.add_row(f"{hit.score:.4f}", where, plain_text(snippet))
        Console().print(drawn)


def _ending(name: str, width: int) -> str:
    """The end of a path says more than its beginning."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def prompted(prompt: str = "search> ") -> Iterator[str]:
    """What is typed, line by line until Ctrl-D; the arrow keys bring back earlier lines."""
    with suppress(ImportError):  # some Pythons are built without; importing it is all that input() needs
        import readline  # noqa: F401
    while True:
        try:
            line = input(prompt).strip()
            line.encode()  # what a terminal sent in another encoding
        except EOFError:
            print(file=sys.stderr)
            return
        except UnicodeError:
            note("that is not UTF-8")
            continue
        if line:
            yield line
