"""Pages as text: what their tables and charts say."""

import html
import json
import re
from html.parser import HTMLParser
from typing import Any

from server import Server


class _Tables(HTMLParser):
    """Rows of cells, of all tables."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)
            self.tables[-1][-1][-1] = " ".join("".join(self._cell).split())

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = None


def page(server: Server, path: str, status: int = 200) -> str:
    """A page's source, with its status checked."""
    answer = server.request("GET", path, headers={"Accept": "text/html"})
    assert answer.status == status, (path, answer.status, answer.body[-2000:])
    assert answer.headers["content-type"].startswith("text/html")
    return answer.body.decode()


def tables(source: str) -> list[list[list[str]]]:
    """The text of every cell, heads among them."""
    parser = _Tables()
    parser.feed(source)
    return parser.tables


def charts(source: str) -> list[dict[str, Any]]:
    """What charts are drawn from."""
    return [
        json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', source, re.DOTALL)
    ]


def text(source: str) -> str:
    """All that is read, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", source)).split())
