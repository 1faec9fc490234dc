import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.commands import Commands
from embedrouter.accounts.keys import masked
from server import EMBEDDINGS, MODEL, Server, eventually, serving


def test_a_made_key_is_printed_once_and_only_its_digest_is_kept(commands: Commands) -> None:
    done = commands("keys", "create", "--name", "of a test")
    secret = done.stdout.strip()
    assert done.stdout == f"{secret}\n", "a script takes it as it is"
    assert hashlib.sha256(secret.encode()).hexdigest()[:12] in done.stderr
    (kept,) = commands.json("keys", "list")
    assert kept["hash"] == hashlib.sha256(secret.encode()).hexdigest()
    assert kept["label"] == masked(secret)
    for told in (commands("keys", "list"), commands("keys", "show", kept["hash"], "--json"), commands("doctor")):
        assert told.status == 0
        assert secret not in told.stdout + told.stderr


def test_every_option_of_a_key_is_kept(commands: Commands) -> None:
    made = commands.json(
        "keys", "create", "--name", "all", "--management", "--limit", "2.5", "--limit-reset", "monthly",
        "--expires", "30d", "--rpm", "60", "--tpm", "100000", "--concurrency", "4", "--private",
    )["data"]  # fmt: skip
    in_30_days = datetime.now(UTC) + timedelta(days=30)
    assert abs(datetime.fromisoformat(made.pop("expires_at")) - in_30_days) < timedelta(minutes=5)
    expected = {
        "name": "all", "management": True, "limit": 2.5, "limit_reset": "monthly", "limit_remaining": 2.5,
        "rpm": 60, "tpm": 100_000, "concurrency": 4, "private": True, "disabled": False, "usage": 0,
    }  # fmt: skip
    assert {name: made[name] for name in expected} == expected
    assert commands.json("keys", "show", made["hash"][:8])["limit_reset"] == "monthly"


def test_an_update_changes_what_is_given_and_none_takes_it_away(commands: Commands) -> None:
    hash_ = commands.json("keys", "create", "--name", "old", "--limit", "1", "--rpm", "5", "--expires", "1h")["data"][
        "hash"
    ]
    changed = commands.json("keys", "update", hash_[:10], "--name", "new", "--limit", "none", "--expires", "none")
    assert (changed["name"], changed["limit"], changed["expires_at"], changed["rpm"]) == ("new", None, None, 5)
    assert "nothing to change" in commands("keys", "update", hash_).refusal()


def test_the_list_leaves_disabled_keys_out_and_all_shows_them(here: Commands) -> None:
    hashes = [here.json("keys", "create", "--name", name)["data"]["hash"] for name in ("first", "second")]
    assert here("keys", "disable", hashes[0]).status == 0
    assert [key["name"] for key in here.json("keys", "list")] == ["second"]
    assert [key["name"] for key in here.json("keys", "list", "--all")] == ["second", "first"]
    assert here("keys", "enable", hashes[0]).status == 0
    assert len(here.json("keys", "list")) == 2


def test_deleting_asks_first(here: Commands) -> None:
    hash_ = here.json("keys", "create", "--name", "kept")["data"]["hash"]
    assert here("keys", "delete", hash_, typed="n\n").status == 1
    assert len(here.json("keys", "list")) == 1
    assert here("keys", "delete", hash_, typed="y\n").status == 0
    assert "no API key" in here("keys", "show", hash_).refusal()
    again = here.json("keys", "create", "--name", "gone")["data"]["hash"]
    assert here.json("keys", "delete", again, "--yes") == {"hash": again, "deleted": True}
    assert here.json("keys", "list", "--all") == []


def test_what_is_typed_wrong_is_named(tmp_path: Path) -> None:
    commands = Commands(tmp_path, f"sqlite:///{tmp_path / 'x.db'}")
    commands("db", "migrate")
    for arguments, named in (
        (["create", "--name", ""], "--name"),
        (["create", "--name", "x\ny"], "--name"),
        (["create", "--name", "x", "--limit", "much"], "--limit"),
        (["create", "--name", "x", "--limit", "-1"], "--limit"),
        (["create", "--name", "x", "--limit", "1e9"], "--limit"),
        (["create", "--name", "x", "--limit", "nan"], "--limit"),
        (["create", "--name", "x", "--expires", "soon"], "--expires"),
        (["create", "--name", "x", "--expires", "2001-01-01"], "--expires"),
        (["create", "--name", "x", "--expires", "999999w"], "--expires"),
        (["create", "--name", "x", "--rpm", "0"], "--rpm"),
        (["create", "--name", "x", "--tpm", "1.5"], "--tpm"),
        (["create", "--name", "x", "--concurrency", "9999999999"], "--concurrency"),
        (["show", "abc"], "8 hex digits"),
        (["show", "%%%%%%%%"], "8 hex digits"),
        (["disable", "0123456789"], "no API key"),
    ):
        assert named in commands("keys", *arguments).refusal()
    assert commands.json("keys", "list", "--all") == []


def test_without_a_database_only_create_makes_one(tmp_path: Path) -> None:
    commands = Commands(tmp_path, f"sqlite:///{tmp_path / 'typo' / 'x.db'}")
    for arguments in (["list"], ["show", "0" * 64], ["update", "0" * 64, "--name", "x"], ["delete", "0" * 64, "--yes"]):
        assert "there is no database" in commands("keys", *arguments).refusal()
    assert list(tmp_path.iterdir()) == []
    assert commands("keys", "create", "--name", "x").status == 0
    assert [path.name for path in (tmp_path / "typo").iterdir()] == ["x.db"]


def test_an_empty_postgresql_is_told_as_one(tmp_path: Path, postgres_url: str) -> None:
    assert "is empty" in Commands(tmp_path, postgres_url)("keys", "list").refusal()


def embeds(server: Server, secret: str) -> int:
    return server.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x"}, key=secret).status


def test_a_running_server_takes_changes_in_within_2_seconds(tmp_path: Path, database_url: str) -> None:
    """Attack 22, and every other process that serves."""
    commands = Commands(tmp_path / "data", database_url)
    before = commands("keys", "create", "--name", "before the first start").stdout.strip()
    with serving(tmp_path, key=None, database_url=database_url) as server:
        assert embeds(server, before) == 200
        assert "Authorization: Bearer sk-er-v1-" in server.output(), "it makes and tells its first key all the same"

        def within_2_seconds(status: int) -> None:
            eventually(lambda: embeds(server, secret) == status, patience=2)

        made = commands.json("keys", "create", "--name", "new")
        secret, hash_ = made["key"], made["data"]["hash"]
        within_2_seconds(200)
        assert commands("credits", "budget", "--period", "day", "--limit", "0").status == 0
        within_2_seconds(403)
        assert commands("credits", "budget", "--period", "day", "--limit", "none").status == 0
        within_2_seconds(200)
        for command, status in (("disable", 401), ("enable", 200), ("delete", 401)):
            assert commands("keys", command, hash_, *(["--yes"] if command == "delete" else [])).status == 0
            within_2_seconds(status)
        assert {key["name"]: key["usage"] > 0 for key in commands.json("keys", "list")} == {
            "before the first start": True, "First key": False,
        }  # fmt: skip
        assert commands.json("doctor")["clean"] is True
        assert commands.json("db", "status")["rows"]["generations"] >= 4
    assert before not in server.output()
    assert secret not in server.output()
