from pathlib import Path

import pytest

from cli.commands import Commands


@pytest.fixture
def sqlite(tmp_path: Path) -> Commands:
    """On an empty SQLite database: for what does not depend on the database."""
    commands = Commands(tmp_path, f"sqlite:///{tmp_path / 'x.db'}")
    assert commands("db", "migrate").status == 0
    return commands


def test_a_made_workspace_is_listed_and_shown_by_slug_and_id(here: Commands) -> None:
    made = here.json(
        "workspaces", "create", "--name", "Research", "--slug", "research", "--description", "for papers",
        "--sort", "price", "--private",
    )  # fmt: skip
    expected = {
        "slug": "research", "name": "Research", "description": "for papers", "default_provider_sort": "price",
        "in_rankings": False, "budgets": [],
    }  # fmt: skip
    assert {name: made[name] for name in expected} == expected
    assert [one["slug"] for one in here.json("workspaces", "list")] == ["default", "research"]
    assert here.json("workspaces", "show", "research") == made
    assert here.json("workspaces", "show", made["id"]) == made
    told = here("workspaces", "list").stdout
    assert f"research\tResearch\t{made['id']}\t\n" in told


def test_budgets_are_set_and_removed(here: Commands) -> None:
    here("workspaces", "create", "--name", "R", "--slug", "r")
    set_ = here.json("workspaces", "budget", "set", "r", "monthly", "12.5")
    assert set_["budgets"] == [{"interval": "monthly", "limit": 12.5, "spent": 0, "held": 0, "remaining": 12.5}]
    assert "must be less than" in here("workspaces", "budget", "set", "r", "daily", "20").refusal()
    here("workspaces", "budget", "set", "r", "daily", "2")
    assert "daily 0 of 2 USD, monthly 0 of 12.5 USD" in here("workspaces", "show", "r").stdout
    removed = here.json("workspaces", "budget", "remove", "r", "monthly")
    assert removed == {"workspace": "r", "interval": "monthly", "deleted": True}
    assert [one["interval"] for one in here.json("workspaces", "show", "r")["budgets"]] == ["daily"]
    assert "has no monthly budget" in here("workspaces", "budget", "remove", "r", "monthly").refusal()
    assert here.json("workspaces", "show", "default")["budgets"] == []


def test_every_user_is_a_member_of_every_workspace(sqlite: Commands) -> None:
    assert sqlite("users", "create", "a@example.org", "--password-stdin", typed="a long enough one\n").status == 0
    (member,) = sqlite.json("workspaces", "members", "default")
    assert (member["email"], member["role"], member["disabled"]) == ("a@example.org", "member", False)
    assert "a@example.org" in sqlite("workspaces", "members", "default").stdout
    assert "no workspace has" in sqlite("workspaces", "members", "nobody").refusal()


def test_what_is_typed_wrong_is_named_and_changes_nothing(sqlite: Commands) -> None:
    for arguments, named in (
        (["create", "--name", "", "--slug", "x"], "--name"),
        (["create", "--name", "x\ny", "--slug", "x"], "--name"),
        (["create", "--name", "x" * 101, "--slug", "x"], "--name"),
        (["create", "--name", "x", "--slug", "X"], "--slug"),
        (["create", "--name", "x", "--slug", "a--b"], "--slug"),
        (["create", "--name", "x", "--slug", "x\n"], "--slug"),
        (["create", "--name", "x", "--slug", "x" * 51], "--slug"),
        (["create", "--name", "x", "--slug", "default"], "slug"),
        (["create", "--name", "x", "--slug", "x", "--description", "\x1b[31m"], "--description"),
        (["show", "nobody"], "no workspace has"),
        (["budget", "set", "nobody", "daily", "1"], "no workspace has"),
        (["budget", "set", "default", "daily", "0"], "more than 0"),
        (["budget", "set", "default", "daily", "much"], "USD"),
        (["budget", "remove", "nobody", "daily"], "no workspace has"),
    ):
        assert named in sqlite("workspaces", *arguments).refusal()
    (left,) = sqlite.json("workspaces", "list")
    assert (left["slug"], left["budgets"]) == ("default", [])


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    commands = Commands(tmp_path, f"sqlite:///{tmp_path / 'typo' / 'x.db'}")
    for arguments in (["list"], ["show", "x"], ["create", "--name", "x", "--slug", "x"]):
        assert "there is no database" in commands("workspaces", *arguments).refusal()
    assert list(tmp_path.iterdir()) == []
