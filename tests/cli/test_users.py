"""`embedrouter users`, on a database of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from embedrouter.cli.users import app

_PASSWORD = "correct horse battery staple"


class Users:
    """Runs the command."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        done = self(*arguments, "--json", stdin=stdin)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        done = self(*arguments, stdin=stdin)
        assert done.exit_code == 2, done.output
        return done.stderr


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    monkeypatch.setenv("EMBEDROUTER_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("EMBEDROUTER_DATABASE_URL", raising=False)
    return Users()


def test_a_users_life(users: Users) -> None:
    admin = users.json("create", "Admin@B", "--role", "admin", "--password-stdin", stdin=_PASSWORD + "\n")
    assert (admin["email"], admin["role"], admin["disabled"]) == ("admin@b", "admin", False)
    made = users.json("create", "a@b", "--name", "Anna", stdin=f"{_PASSWORD}\n{_PASSWORD}\n")
    assert (made["role"], made["name"]) == ("member", "Anna")
    assert users.json("disable", "a@b")["disabled"] is True
    assert users.json("enable", made["id"])["disabled"] is False
    assert users.json("role", "a@b", "admin")["role"] == "admin"
    assert users.json("password", "a@b", "--password-stdin", stdin=_PASSWORD + "!")["id"] == made["id"]
    assert [user["email"] for user in users.json("list")] == ["admin@b", "a@b"]
    assert "a@b  Anna" in users("list").stdout
    assert users("delete", "a@b", stdin="n\n").exit_code == 1
    assert users.json("delete", "a@b", "--yes")["email"] == "a@b"
    assert [user["email"] for user in users.json("list")] == ["admin@b"]


def test_a_link_is_told_with_its_role(users: Users) -> None:
    told = users.json("link", "--role", "admin")
    assert told["url"].startswith("http://127.0.0.1:8000/setup?token=")
    assert told["role"] == "admin"
    assert users("link").stdout.startswith("http://127.0.0.1:8000/setup?token=")


def test_what_is_wrong_is_told_on_one_line(users: Users) -> None:
    assert "12 to 256 characters" in users.refused("create", "a@b", "--password-stdin", stdin="short\n")
    assert "email: expected" in users.refused("create", "nobody", "--password-stdin", stdin=_PASSWORD)
    users.json("link")  # makes the database
    assert "no user has this email" in users.refused("disable", "nobody@b")
    assert "no such user" in users.refused("enable", "user_x")
    users.json("create", "a@b", "--role", "admin", "--password-stdin", stdin=_PASSWORD)
    assert "last administrator" in users.refused("disable", "a@b")
    assert "last administrator" in users.refused("role", "a@b", "member")
    assert "last administrator" in users.refused("delete", "a@b", "--yes")
    assert "exists already" in users.refused("create", "A@B", "--password-stdin", stdin=_PASSWORD)


def test_a_password_is_no_argument(users: Users) -> None:
    assert "No such option" in users.refused("create", "a@b", "--password", _PASSWORD)
    assert "unexpected extra argument" in users.refused("password", "a@b", _PASSWORD)
