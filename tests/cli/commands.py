"""Commands run in this process, which takes a tenth of the time; what they print, and what they print as JSON."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from embedrouter.cli import app


class Done(NamedTuple):
    """A command that ended."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one document on its standard output."""
        assert self.status in {0, 1}, self.stderr
        return json.loads(self.stdout)

    def refusal(self) -> str:
        """The one line that it told, checked to be one and to end it with status 2."""
        assert self.status == 2, (self.stdout, self.stderr)
        assert self.stdout == ""
        assert self.stderr.startswith("embedrouter: ")
        assert self.stderr.count("\n") == 1, self.stderr
        return self.stderr


def run(*arguments: str, typed: str | None = None) -> Done:
    """A command that needs no database."""
    found = CliRunner().invoke(app, arguments, input=typed, catch_exceptions=False)
    return Done(found.exit_code, found.stdout, found.stderr)


class Commands:
    """Runs commands on one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.variables = {"EMBEDROUTER_DATA_DIR": str(folder), "EMBEDROUTER_DATABASE_URL": url}

    def __call__(self, *arguments: str, typed: str | None = None) -> Done:
        found = CliRunner().invoke(app, arguments, input=typed, env=self.variables, catch_exceptions=False)
        return Done(found.exit_code, found.stdout, found.stderr)

    def json(self, *arguments: str) -> Any:
        return self(*arguments, "--json").json()


@pytest.fixture
def commands(tmp_path: Path, database_url: str) -> Commands:
    """On an empty database, SQLite's and PostgreSQL's."""
    return Commands(tmp_path, database_url)


@pytest.fixture
def here(commands: Commands) -> Commands:
    """The same, and the database is there."""
    assert commands("db", "migrate").status == 0
    return commands
