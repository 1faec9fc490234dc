"""The doctor, and every kind of damage that it names."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from cli.commands import Commands
from embedrouter.accounts import first, keys
from embedrouter.ledger import generations, holds
from embedrouter.ledger.book import Instance, Ledger
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.credits import ACCOUNT, Credit, add
from embedrouter.ledger.doctor import examine
from embedrouter.ledger.generations import Generation, Settlement
from embedrouter.ledger.holds import Hold
from embedrouter.ledger.payer import Payer
from embedrouter.periods import DAY, SECOND
from embedrouter.store import Database, Writer
from embedrouter.store.migrate import migrate

_DAY = 1_772_582_400  # 2026-03-04T00:00Z, a Wednesday
_NOON = (_DAY + DAY // 2) * SECOND


def generation(name: str, key_id: int, at: int, cost: int, status: int = 200) -> Generation:
    return Generation(
        id=name, created_at=at, key_id=key_id, workspace_id=first.WORKSPACE, owner_id=None, app_id=0, public=True,
        api_type="embeddings", model="m", model_permaslug="m", endpoint="e", provider_name="p", status=status,
        error_type=None, cancelled=False, inputs=1, prompt_tokens=10, cost_pico=cost, is_byok=False, latency_us=5,
        generation_us=3, attempts="[]", origin="", http_referer=None, user_agent=None, external_user=None,
        session_id=None, request_id=None, cache_source_id=None,
    )  # fmt: skip


@pytest.fixture
def books(commands: Commands) -> Commands:
    """Two keys with generations on two days, one of them failed, a top-up, and a hold of a process that lives."""
    database = Database(commands.url)
    migrate(database)
    writer = Writer(database)
    writer.submit(first.furnish, 1).result()
    made = [
        writer.submit(
            keys.create, keys.NewKey(bytes([number]) * 32, "...", f"key {number}", "cli", 1, first.WORKSPACE)
        ).result()
        for number in (1, 2)
    ]
    ids = [key.id for key in made if not isinstance(key, Exception)]
    assert ids == [1, 2]
    writer.submit(add, Credit("top_up", 1_000_000, "a test", "because", 1)).result()
    for name, key_id, at, cost, status in (
        ("gen-1", 1, _NOON, 500, 200), ("gen-2", 1, _NOON + 1, 700, 200), ("gen-3", 2, _NOON, 900, 200),
        ("gen-4", 1, _NOON + DAY * SECOND, 1100, 200), ("gen-5", 2, _NOON, 0, 503),
    ):  # fmt: skip
        payer = Payer(key_id, first.WORKSPACE, ACCOUNT)
        writer.submit(generations.settle, Settlement(generation(name, key_id, at, cost, status), payer)).result()
    Ledger(database, writer, Instance("living", "here", 1, 1)).beat()
    payer = Payer(1, first.WORKSPACE, ACCOUNT, enforce_balance=True)
    writer.submit(holds.hold, Hold("gen-6", "living", payer, payer.claims(_NOON), Amount(300), 10, _NOON)).result()
    writer.close()
    database.close()
    return commands


def damage(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def findings(commands: Commands) -> list[dict[str, Any]]:
    """What is wrong, checked for the exit status that goes with it."""
    done = commands("doctor", "--json")
    found: list[dict[str, Any]] = done.json()["findings"]
    assert done.status == (1 if found else 0)
    return found


def test_sound_books_are_clean_and_counted(books: Commands) -> None:
    report = books.json("doctor")
    assert (report["clean"], report["generations"], report["findings"]) == (True, 5, [])
    assert report["ledger_entries"] == 4, "a top-up, and an entry for each key and day"
    done = books("doctor")
    assert done.status == 0
    assert done.stdout.startswith("clean: 5 generations and 4 ledger entries")


_BUCKET = f"bucket={_DAY + DAY // 2}"

# The damage; the check that finds it and how it names the row; what should be there and what is.
_DAMAGES: dict[str, tuple[Any, ...]] = {
    "a generation's cost": (
        "UPDATE generations SET cost_pico = 501 WHERE id = 'gen-1'",
        ("usage entry of the ledger", f"key_id=1, day={_DAY} (2026-03-04", "1201", "1200"),
        ("usage (cost_pico)", f"{_BUCKET} (2026-03-04T12:00Z), key_id=1", "1201", "1200"),
    ),
    "a deleted generation": (
        "DELETE FROM generations WHERE id = 'gen-3'",
        ("usage entry of the ledger", "key_id=2", "0", "900"),
        ("usage (requests)", f"{_BUCKET}", "1", "2"),
    ),
    "a deleted generation that cost nothing": (
        "DELETE FROM generations WHERE id = 'gen-5'",
        ("usage (requests)", "key_id=2", "1", "2"),
        ("usage (failures)", "key_id=2", "0", "1"),
    ),
    "a generation of another key": (
        "UPDATE generations SET key_id = 2 WHERE id = 'gen-1'",
        ("usage entry of the ledger", "key_id=1", "700", "1200"),
        ("usage entry of the ledger", "key_id=2", "1400", "900"),
    ),
    "a generation of no key": (
        "UPDATE generations SET key_id = 77 WHERE id = 'gen-1'",
        ("generation", "id=gen-1", "of a known key", "of an unknown key"),
    ),
    "a failed generation that costs": (
        "UPDATE generations SET status = 503 WHERE id = 'gen-1'",
        ("generation", "id=gen-1", "free, for it failed", "charged"),
        ("usage (failures)", f"{_BUCKET}", "1", "0"),
    ),
    "a generation on another day": (
        f"UPDATE generations SET created_at = created_at + {DAY * SECOND} WHERE id = 'gen-2'",
        ("usage entry of the ledger", f"key_id=1, day={_DAY} ", "500", "1200"),
        ("usage entry of the ledger", f"key_id=1, day={_DAY + DAY} ", "1800", "1100"),
    ),
    "a top-up's amount": (
        "UPDATE ledger SET amount_pico = 2000000 WHERE kind = 'top_up'",
        ("credits of an account", f"account={ACCOUNT}", "2000000", "1000000"),
        ("balance", f"account={ACCOUNT}", "1996800", "996800"),
    ),
    "a usage entry's amount": (
        f"UPDATE ledger SET amount_pico = -1 WHERE key_id = 1 AND day = {_DAY}",
        ("usage entry of the ledger", f"key_id=1, day={_DAY} ", "1200", "1"),
        ("balance", f"account={ACCOUNT}", "997999", "996800"),
        ("spending of a key", f"scope=key, scope_id=1, period=day, start={_DAY} ", "1", "1200"),
    ),
    "a deleted ledger entry": (
        "DELETE FROM ledger WHERE key_id = 2",
        ("usage entry of the ledger", f"key_id=2, day={_DAY} ", "900", "0"),
    ),
    "a usage entry made a top-up": (
        "UPDATE ledger SET kind = 'adjustment' WHERE key_id = 2",
        ("credits of an account", f"account={ACCOUNT}", "999100", "1000000"),
        ("usage entry of the ledger", "key_id=2", "900", "0"),
    ),
    "a usage entry without its day": (
        "UPDATE ledger SET day = NULL WHERE key_id = 2",
        ("usage entry of the ledger", "key_id=2, day=None", "0", "900"),
    ),
    "credited_pico": (
        "UPDATE accounts SET credited_pico = 7",
        ("credits of an account", f"account={ACCOUNT}", "1000000", "7"),
        ("balance", f"account={ACCOUNT}", "996800", "-3193"),
    ),
    "a usage row": (
        "UPDATE usage SET prompt_tokens = 11, latency_us = 0 WHERE key_id = 2",
        ("usage (prompt_tokens)", f"{_BUCKET} (2026-03-04T12:00Z), key_id=2", "20", "11"),
        ("usage (latency_us)", "key_id=2", "10", "0"),
    ),
    "a usage row's cost": (
        "UPDATE usage SET cost_pico = 899 WHERE key_id = 2",
        ("usage (cost_pico)", "key_id=2", "900", "899"),
        ("spending of a workspace", f"scope_id={first.WORKSPACE}, period=total", "3199", "3200"),
    ),
    "a deleted usage row": (
        "DELETE FROM usage WHERE key_id = 2",
        ("usage (requests)", "key_id=2", "2", "0"),
    ),
    "a key's spending": (
        "UPDATE spending SET spent_pico = 0 WHERE scope = 'key' AND scope_id = '2' AND period = 'week'",
        ("spending of a key", f"scope_id=2, period=week, start={_DAY - 2 * DAY} ", "900", "0"),
    ),
    "a workspace's spending": (
        "UPDATE spending SET spent_pico = 1 WHERE scope = 'workspace' AND period = 'month'",
        ("spending of a workspace", "period=month", "3200", "1"),
    ),
    "an account's spending": (
        "UPDATE spending SET spent_pico = 0 WHERE scope = 'account'",
        ("balance", f"account={ACCOUNT}", "996800", "1000000"),
    ),
    "spending of a key that never was": (
        "INSERT INTO spending VALUES ('key', 'ghost', 'total', 0, 5, 0, 1, 0, 0)",
        ("spending of a key", "scope_id=ghost", "0", "5"),
    ),
    "held money without a hold": (
        "DELETE FROM holds",
        ("held money", f"scope=account, scope_id={ACCOUNT}, period=total, start=0", "0", "300"),
    ),
    "a hold without held money": (
        "UPDATE spending SET held_pico = 0 WHERE scope = 'account'",
        ("held money", f"scope_id={ACCOUNT}", "300", "0"),
    ),
    "a hold that cannot be read": (
        "UPDATE holds SET claims = 'x'",
        ("hold", "id=gen-6", "one with claims", "one whose claims cannot be read"),
    ),
    "a key newer than all changes": (
        "UPDATE marks SET value = 0 WHERE name = 'keys_revision'",
        ("revision of a key", f"hash={'01' * 32}", "at most 0", "1"),
    ),
}  # fmt: skip


def test_each_damage_is_found_and_its_row_named(books: Commands) -> None:
    engine = create_engine(books.url)
    for what, (statement, *expected) in _DAMAGES.items():
        with engine.connect() as connection:  # and rolled back, so that the next finds sound books
            connection.execute(text(statement))
            found = examine(connection).findings
        for check, row, should, is_ in expected:
            alike = [one for one in found if one.check == check and row in one.row]
            assert [(one.expected, one.found) for one in alike] == [(should, is_)], (what, found)
    engine.dispose()
    assert findings(books) == []


def test_findings_are_printed_a_line_each(books: Commands) -> None:
    damage(books.url, "UPDATE accounts SET credited_pico = 7")
    done = books("doctor")
    assert done.status == 1
    assert f"credits of an account: account={ACCOUNT} should be 1000000, is 7" in done.stdout.splitlines()
    assert "2 finding(s)" in done.stderr


def test_what_was_pruned_is_not_missed(books: Commands) -> None:
    """Retention takes old generations, and then old usage, away; the ledger and what was spent stay."""
    until = (_DAY + DAY) * SECOND
    damage(books.url, f"DELETE FROM generations WHERE created_at < {until}",
           f"INSERT INTO marks VALUES ('generations_pruned_until', {until})")  # fmt: skip
    assert findings(books) == []
    damage(books.url, f"UPDATE ledger SET amount_pico = -1 WHERE key_id = 2 AND day = {_DAY}")
    assert "usage entry of the ledger" in {one["check"] for one in findings(books)}, "usage still tells of that day"
    damage(books.url, f"UPDATE ledger SET amount_pico = -900 WHERE key_id = 2 AND day = {_DAY}",
           f"DELETE FROM usage WHERE bucket < {_DAY + DAY}",
           f"INSERT INTO marks VALUES ('usage_pruned_until', {until})")  # fmt: skip
    assert findings(books) == []
    damage(books.url, "UPDATE spending SET spent_pico = 0 WHERE scope = 'key' AND scope_id = '2' AND period = 'total'")
    assert [one["check"] for one in findings(books)] == ["spending of a key"]


def test_findings_are_bounded(books: Commands) -> None:
    rows = [f"('key', 'ghost-{number}', 'total', 0, 5, 0, 1, 0, 0)" for number in range(250)]
    damage(books.url, f"INSERT INTO spending VALUES {', '.join(rows)}")
    report = books.json("doctor")
    assert len(report["findings"]) == 100
    assert "at most 100" in report["warnings"][0]


def test_a_schema_that_lacks_a_column_is_a_finding(books: Commands) -> None:
    damage(books.url, "ALTER TABLE generations DROP COLUMN session_id")
    (found,) = findings(books)
    assert found["check"] == "schema"
    assert "generations.session_id" in found["found"]


def test_processes_that_ended_without_signing_off_are_told(books: Commands) -> None:
    damage(books.url, "UPDATE instances SET seen_at = 1")
    report = books.json("doctor")
    assert report["clean"] is True
    assert "process 1 on here" in report["warnings"][0]
    damage(books.url, "DELETE FROM instances")
    assert "gen-6" in books.json("doctor")["warnings"][0]


def test_damage_of_sqlites_file_is_a_finding(tmp_path: Path) -> None:
    commands = Commands(tmp_path, f"sqlite:///{tmp_path / 'books.db'}")
    commands("keys", "create", "--name", "x")
    damage(commands.url, "PRAGMA foreign_keys=OFF", "INSERT INTO budgets VALUES ('ghost', 'day', 1)")
    assert "row 1 of budgets refers to one of workspaces" in findings(commands)[0]["found"]
    content = bytearray((tmp_path / "books.db").read_bytes())
    content[-8192:] = b"\xa5" * 8192
    (tmp_path / "books.db").write_bytes(content)
    assert {one["check"] for one in findings(commands)} == {"file"}


def test_what_cannot_be_looked_at_has_status_2(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear reader, " * 100)
    assert "not a database" in Commands(tmp_path, f"sqlite:///{tmp_path / 'letter'}")("doctor").refusal()
    nowhere = "postgresql://nobody:s3cret@127.0.0.1:9/nothing"
    assert "s3cret" not in Commands(tmp_path, nowhere)("doctor").refusal()
