"""What a life of the program leaves behind, to look for secrets in it: answers, output, files, rows, arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, inspect, text

from server import Answer, Server


@dataclass
class Evidence:
    """Named places and what was found there. An answer that may tell a secret once has a name of its own."""

    places: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, found: bytes | str) -> None:
        """Keep what was found; several finds of one name get a number."""
        number = sum(known.partition(" #")[0] == name for known in self.places)
        data = found.encode("utf-8", "surrogateescape") if isinstance(found, str) else found
        self.places[f"{name} #{number}" if number else name] = data

    def add_files(self, folder: Path, when: str) -> None:
        """Every byte of every file under a folder, and the files' names."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.add(f"file {path.relative_to(folder)} {when}", str(path).encode() + b"\n" + path.read_bytes())

    def add_rows(self, url: str) -> None:
        """Every row of every table, as text."""
        engine = create_engine(url)
        with engine.connect() as connection:
            for table in inspect(connection).get_table_names():
                rows = connection.execute(text(f'SELECT * FROM "{table}"')).all()
                self.add(f"table {table}", "\n".join(repr(tuple(row)) for row in rows))
        engine.dispose()

    def add_arguments(self) -> None:
        """The arguments of every process of the machine, which everybody on it may read."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.add("arguments", path.read_bytes())
            except OSError:
                continue  # it has ended

    def holding(self, secret: str, among: Iterable[str] = ("",)) -> set[str]:
        """Names of the places that hold a secret, of those whose names begin with one of `among`."""
        found = {name for name, data in self.places.items() if secret.encode() in data}
        return {name for name in found if name.startswith(tuple(among))}


@dataclass
class Watched(Server):
    """A server whose every answer is kept: its status, headers and body."""

    evidence: Evidence = field(default_factory=Evidence)
    telling: str = "answer"  # what the answers that come now are called

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> Answer:
        answer = super().request(method, path, body, headers, key=key)
        told = "\n".join(f"{name}: {value}" for name, value in answer.headers.items()).encode()
        self.evidence.add(self.telling, f"{method} {answer.status}\n".encode() + told + b"\n\n" + answer.body)
        return answer
