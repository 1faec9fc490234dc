"""Credentials: what is kept, who may use which in what order, other processes, keys that rotate."""

import base64
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from embedrouter.accounts import credentials, first
from embedrouter.accounts.credential_ring import Credential, CredentialRing
from embedrouter.accounts.credentials import (
    CredentialChange,
    CredentialFilter,
    NewCredential,
    StoredCredential,
    masked,
)
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import NewKey, create, digest_of
from embedrouter.accounts.rotation import check, rotate
from embedrouter.accounts.sealing import Sealer, Secret
from embedrouter.errors import InvalidRequestError, NotFoundError, SettingsError, StoreError
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate

_SECRET = "sk-proj-0123456789abcdef"  # noqa: S105 (nobody's)
_OTHER = "00000000-0000-4000-8000-0000000000ff"
_HASH = digest_of("a key").hex()


class Safe:
    """A database with a workspace and a key, and what one process has of it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.database = Database(url)
        migrate(self.database)
        self.writer = Writer(self.database)
        self.sealer = Sealer(folder)
        self.ring = CredentialRing(self.database, self.sealer, {"cohere": "environments-own-key"})
        self.writer.submit(first.furnish, 1).result()
        self.writer.submit(create, NewKey(digest_of("a key"), "l", "n", "api", 1, WORKSPACE)).result()

    def add(self, provider: str = "openai", secret: str = _SECRET, **values: Any) -> StoredCredential:
        values.setdefault("workspace_id", None)
        wanted = NewCredential(self.sealer, str(uuid.uuid4()), provider, Secret(secret), 1, "test", **values)
        return self.writer.submit(credentials.add, wanted).result()

    def change(self, id_: str, secret: str | None = None, **values: Any) -> StoredCredential:
        wanted = CredentialChange(self.sealer, id_, values, 2, Secret(secret) if secret else None)
        return self.writer.submit(credentials.change, wanted).result()

    def usable(self, provider: str = "openai", **asked: Any) -> tuple[Credential, ...]:
        """What the ring gives to a request of the default workspace, but for what is `asked`."""
        self.ring.load()
        given = {"workspace_id": WORKSPACE, "key_hash": _HASH, "owner_id": None, "model": "a/b", **asked}
        return self.ring.for_provider(provider, **given)

    def run(self, statement: str) -> None:
        def handler(batch: Batch, _: Any) -> list[None]:
            batch.connection.execute(text(statement))
            return [None]

        self.writer.submit(handler, None).result()

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@pytest.fixture
def safe(database_url: str, tmp_path: Path) -> Iterator[Safe]:
    opened = Safe(database_url, tmp_path / "keys")
    yield opened
    opened.close()


def test_a_credential_is_kept_sealed_and_opened_in_memory(safe: Safe) -> None:
    made = safe.add(name="Production")
    assert (made.label, made.name, made.sort_order) == ("sk-...cdef", "Production", 0)
    assert safe.database.read_now(lambda c: credentials.find(c, made.id)) == made
    (opened,) = safe.usable()
    assert opened.secret.reveal() == _SECRET
    assert _SECRET not in f"{opened} {opened!r} {safe.ring.__dict__}"
    row = safe.database.read_now(lambda c: c.execute(text("SELECT * FROM credentials")).one())
    assert _SECRET not in str(row)


@pytest.mark.parametrize("secret", ["", "short", "123456789012345", "x" * 15 + "\n"])
def test_nothing_of_a_short_secret_is_in_its_label(secret: str) -> None:
    assert masked(secret) == "..."


def test_a_repeated_try_adds_nothing_twice(safe: Safe) -> None:
    wanted = NewCredential(safe.sealer, str(uuid.uuid4()), "openai", Secret(_SECRET), 1, "test", None)
    assert safe.writer.submit(credentials.add, wanted).result() == safe.writer.submit(credentials.add, wanted).result()
    assert len(safe.usable()) == 1


def test_what_contradicts_itself_or_names_nothing_is_refused(safe: Safe) -> None:
    with pytest.raises(InvalidRequestError, match="no such workspace"):
        safe.add(workspace_id=_OTHER)
    with pytest.raises(InvalidRequestError, match="no API key has the hash"):
        safe.add(allowed_api_key_hashes=["0" * 64])
    with pytest.raises(InvalidRequestError, match="is_byok_only"):
        safe.add(is_fallback=True, is_byok_only=True)
    made = safe.add(is_byok_only=True)
    with pytest.raises(InvalidRequestError, match="is_byok_only"):
        safe.change(made.id, is_fallback=True)
    assert safe.change(made.id, is_fallback=True, is_byok_only=False).is_fallback


def test_a_change_changes_only_what_is_named(safe: Safe) -> None:
    made = safe.add(name="n", allowed_models=["a/b"], allowed_user_ids=["u"], declared_zdr=False)
    changed = safe.change(made.id, allowed_models=None, declared_region="europe")
    assert changed.allowed_models is None
    assert (changed.name, changed.allowed_user_ids, changed.declared_zdr) == ("n", ("u",), False)
    assert (changed.declared_region, changed.updated_at) == ("europe", 2)
    replaced = safe.change(made.id, "another-secret-0123456789")
    assert replaced.label == "ano...6789"
    assert [one.secret.reveal() for one in safe.usable(owner_id="u")] == ["another-secret-0123456789"]


def test_what_is_removed_is_gone(safe: Safe) -> None:
    made = safe.add()
    assert safe.usable()
    safe.writer.submit(credentials.remove, made.id).result()
    assert safe.usable() == ()
    for again in (lambda: safe.change(made.id, name="x"), safe.writer.submit(credentials.remove, made.id).result):
        with pytest.raises(NotFoundError):
            again()


def test_pages_are_by_provider_in_the_order_of_trying(safe: Safe) -> None:
    made = [safe.add("openai"), safe.add("cohere"), safe.add("openai")]
    assert [one.sort_order for one in made] == [0, 0, 1]

    def listed(**wanted: Any) -> list[str]:
        found = safe.database.read_now(lambda c: credentials.list_credentials(c, CredentialFilter(**wanted)))
        return [one.id for one in found]

    assert listed() == [made[1].id, made[0].id, made[2].id]
    assert listed(provider="openai", offset=1) == [made[2].id]
    assert listed(limit=1) == [made[1].id]
    assert listed(workspace_id=_OTHER) == listed(), "those of all workspaces"
    assert safe.database.read_now(lambda c: credentials.count(c, CredentialFilter(provider="openai", limit=1))) == 2


# --- which a request may use


def test_fallbacks_come_after_shared_capacity_which_comes_after_ones_own(safe: Safe) -> None:
    fallback, second, third = safe.add("cohere", is_fallback=True), safe.add("cohere"), safe.add("cohere")
    assert [one.id for one in safe.usable("cohere")] == [second.id, third.id, "environment:cohere", fallback.id]
    assert [one.shared for one in safe.usable("cohere")] == [False, False, True, False]


@pytest.mark.parametrize(
    ("limits", "fits", "does_not"),
    [
        ({"allowed_models": ["a/b", "a/c"]}, {"model": "a/c"}, {"model": "a/d"}),
        ({"allowed_api_key_hashes": [_HASH]}, {"key_hash": _HASH}, {"key_hash": "0" * 64}),
        ({"allowed_user_ids": ["u"]}, {"owner_id": "u"}, {"owner_id": None}),
        ({"workspace_id": WORKSPACE}, {"workspace_id": WORKSPACE}, {"workspace_id": _OTHER}),
        ({}, {"workspace_id": _OTHER}, None),
        ({"allowed_models": []}, {"model": "a/b"}, {"model": "a/b"}),
    ],
)
def test_all_limits_must_fit(
    safe: Safe, limits: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any] | None
) -> None:
    safe.add(**limits)
    assert bool(safe.usable(**fits)) is (limits != {"allowed_models": []})
    if does_not is not None:
        assert safe.usable(**does_not) == ()


def test_a_disabled_one_is_not_used_and_keeps_nobody_from_shared_capacity(safe: Safe) -> None:
    safe.add("cohere", disabled=True, is_byok_only=True)
    assert [one.id for one in safe.usable("cohere")] == ["environment:cohere"]


def test_a_required_one_replaces_shared_capacity_for_its_models_only(safe: Safe) -> None:
    made = safe.add("cohere", is_required=True, allowed_models=["a/b"])
    assert [one.id for one in safe.usable("cohere", model="a/b")] == [made.id]
    assert [one.id for one in safe.usable("cohere", model="a/c")] == ["environment:cohere"]


def test_one_that_is_byok_only_replaces_shared_capacity_for_every_model(safe: Safe) -> None:
    safe.add("cohere", is_byok_only=True, allowed_models=["a/b"])
    assert safe.usable("cohere", model="a/c") == ()
    assert safe.ring.has("cohere")


# --- other processes


def test_another_process_takes_changes_in(safe: Safe) -> None:
    other = CredentialRing(safe.database, Sealer(safe.folder))
    other.load()
    assert not other.has("openai")
    made = safe.add()
    before = other.revision
    other.load()
    assert other.revision > before
    found = other.find(made.id)
    assert found is not None
    assert found.secret.reveal() == _SECRET


def test_what_goes_with_its_workspace_goes_from_memory(safe: Safe) -> None:
    safe.run(
        "INSERT INTO workspaces (id, name, slug, in_rankings, created_at, updated_at) "
        f"VALUES ('{_OTHER}', 'o', 'o', false, 1, 1)"
    )
    made = safe.add(workspace_id=_OTHER)
    assert safe.usable(workspace_id=_OTHER)
    safe.run(f"DELETE FROM workspaces WHERE id = '{_OTHER}'")
    assert safe.usable(workspace_id=_OTHER) == ()
    assert safe.ring.find(made.id) is None


def test_one_that_does_not_open_is_told_and_left_out_until_it_does(
    safe: Safe, caplog: pytest.LogCaptureFixture
) -> None:
    lost, kept = safe.add(), safe.add("cohere")
    rescued = (safe.folder / "secrets.key").read_bytes()
    (safe.folder / "secrets.key").unlink()
    safe.change(kept.id, "a-new-secret-0123456789")  # which makes another key
    assert safe.usable() == ()
    safe.ring.load()
    assert caplog.text.count(f"credential {lost.id} (openai) is sealed with the key") == 1
    assert safe.usable("cohere")[0].secret.reveal() == "a-new-secret-0123456789"
    with (safe.folder / "secrets.key").open("ab") as file:
        file.write(rescued)
    assert [one.id for one in safe.usable()] == [lost.id]


# --- keys that rotate


def test_a_rotation_seals_every_row_anew(safe: Safe) -> None:
    made = [safe.add(secret=f"secret-number-{number:04}") for number in range(3)]
    old = safe.sealer.current()[0].id
    done = rotate(safe.database, safe.writer, safe.sealer)
    assert (done.resealed, done.dropped) == (3, (old,))
    assert [key.id for key in Sealer(safe.folder).current()] == [done.key]
    assert safe.database.read_now(lambda c: check(c, Sealer(safe.folder))).findings == []
    assert [one.secret.reveal() for one in safe.usable()] == [f"secret-number-{n:04}" for n in range(len(made))]


# What ends the process at a step of a rotation, as a kill would.
_DEATHS = {
    "before the new key is on the disk": "sealing._replace = lambda *_: os._exit(9)",
    "before anything is sealed": "credentials.reseal = lambda *_: os._exit(9)",
    "in the transaction": (
        "real = credentials._changed\ndef die(batch):\n    real(batch)\n    os._exit(9)\ncredentials._changed = die"
    ),
    "before the old key is dropped": (
        "real, calls = sealing._replace, []\ndef die(*given):\n    calls.append(1)\n"
        "    os._exit(9) if len(calls) == 2 else real(*given)\nsealing._replace = die"
    ),
}
_PROGRAM = """
import os, sys
from pathlib import Path
from embedrouter.accounts import credentials, sealing
from embedrouter.accounts.rotation import rotate
from embedrouter.store import Database, Writer
{death}
database = Database(sys.argv[1])
rotate(database, Writer(database), sealing.Sealer(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("death", _DEATHS)
def test_a_rotation_that_is_killed_loses_nothing_and_can_be_run_again(safe: Safe, death: str) -> None:
    for number in range(3):
        safe.add(secret=f"secret-number-{number:04}")
    program = _PROGRAM.format(death=_DEATHS[death])
    command = [sys.executable, "-c", program, safe.url, str(safe.folder)]
    killed = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert killed.returncode == 9, killed.stderr
    expected = [f"secret-number-{number:04}" for number in range(3)]
    assert [one.secret.reveal() for one in safe.usable()] == expected
    safe.add(secret="secret-number-0003")
    done = rotate(safe.database, safe.writer, safe.sealer)
    assert [key.id for key in Sealer(safe.folder).current()] == [done.key]
    assert [one.secret.reveal() for one in safe.usable()] == [*expected, "secret-number-0003"]


def test_a_row_that_does_not_open_stops_a_rotation_before_it_begins(safe: Safe) -> None:
    one, other = safe.add(), safe.add(secret="another-secret-0123456789")
    safe.run(f"UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE id = '{one.id}') "
             f"WHERE id = '{other.id}'")  # fmt: skip
    before = (safe.folder / "secrets.key").read_bytes()
    with pytest.raises(StoreError, match=f"nothing was changed, for 1 of the credentials: credential {other.id}"):
        rotate(safe.database, safe.writer, safe.sealer)
    assert (safe.folder / "secrets.key").read_bytes() == before


def test_keys_of_the_environment_rotate_in_two_steps(safe: Safe, tmp_path: Path) -> None:
    safe.add()
    old = f"old:{safe.sealer.current()[0].text}"
    (safe.folder / "secrets.key").unlink()
    safe.run("UPDATE credentials SET sealed = 'old' || substr(sealed, 10)")  # k and 8 digits
    with pytest.raises(SettingsError, match="put a new one before it"):
        rotate(safe.database, safe.writer, Sealer(tmp_path, old))
    new = f"new:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    done = rotate(safe.database, safe.writer, Sealer(tmp_path, f"{new},{old}"))
    assert (done.key, done.resealed, done.dropped) == ("new", 1, ("old",))
    assert safe.database.read_now(lambda c: check(c, Sealer(tmp_path, new))).findings == []
