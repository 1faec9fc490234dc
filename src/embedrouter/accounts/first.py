"""What a database needs before it can serve: a workspace, an account, and the first keys."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import select

from embedrouter.accounts import keys
from embedrouter.accounts.keys import ApiKey, NewKey, Source, digest_of, masked, new_secret
from embedrouter.errors import SettingsError
from embedrouter.ledger.credits import ACCOUNT
from embedrouter.store import Batch, Writer
from embedrouter.store.tables import accounts, api_keys, workspaces

log = logging.getLogger(__name__)

WORKSPACE: Final = "00000000-0000-4000-8000-000000000001"  # the default one
_OLD_FILE: Final = "api-key.sha256"  # where version 0.1 kept its only key


class Wanted(NamedTuple):
    """What the settings say about keys."""

    api_key: str | None
    management_key: str | None
    new_key: bool
    data_dir: Path


class FirstKey(NamedTuple):
    """The key to name at start. `secret` only when it was made just now: it is shown this once."""

    label: str
    secret: str | None


def prepare(writer: Writer, wanted: Wanted) -> FirstKey:
    """Make what is missing; safe to run in several processes at once. Raises SettingsError, StoreUnavailableError."""
    for name, secret in (
        ("EMBEDROUTER_API_KEY", wanted.api_key),
        ("EMBEDROUTER_MANAGEMENT_KEY", wanted.management_key),
    ):
        if secret is not None:
            _check(name, secret)
    if wanted.api_key is not None and wanted.api_key == wanted.management_key:
        raise SettingsError("EMBEDROUTER_API_KEY and EMBEDROUTER_MANAGEMENT_KEY must differ")
    first = writer.submit(_prepare, wanted).result()
    if wanted.api_key is None:
        with suppress(OSError):
            (wanted.data_dir / _OLD_FILE).unlink(missing_ok=True)  # it is in the database now
    return first


def _check(name: str, secret: str) -> None:
    if len(secret) < keys.SHORTEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise SettingsError(
            f"{name} must be at least {keys.SHORTEST} printable ASCII characters without spaces; "
            f"leave it out to have one made"
        )


def furnish(batch: Batch, times: Sequence[int]) -> Sequence[None]:
    """The writer's handler: makes the workspace and the account, but no key. times: now, in microseconds."""
    for now in times:
        batch.connection.execute(
            batch.database.insert(workspaces).on_conflict_do_nothing(),
            {"id": WORKSPACE, "name": "Default", "slug": "default", "in_rankings": True, "created_at": now,
             "updated_at": now},
        )  # fmt: skip
        batch.connection.execute(
            batch.database.insert(accounts).on_conflict_do_nothing(), {"id": ACCOUNT, "credited_pico": 0}
        )
    return [None] * len(times)


def _prepare(batch: Batch, wanted: Sequence[Wanted]) -> Sequence[FirstKey]:
    return [_prepared(batch, one) for one in wanted]


def _prepared(batch: Batch, wanted: Wanted) -> FirstKey:
    now = time.time_ns() // 1000
    furnish(batch, [now])
    if wanted.management_key is not None:
        _named(batch, wanted.management_key, "Management key of the environment", now, management=True)
    else:
        _tell_forgotten(batch, now, management=True)
    if wanted.api_key is not None:
        return FirstKey(_named(batch, wanted.api_key, "Key of the environment", now, management=False).label, None)
    _tell_forgotten(batch, now, management=False)
    if not wanted.new_key:
        _take_over(batch, wanted.data_dir / _OLD_FILE, now)
    first = _of_source(batch, "first", management=False)
    if wanted.new_key:
        for key in first:
            keys.change(batch, [keys.KeyChange(key.hash, {"deleted_at": now}, now)])
    elif first:
        return FirstKey(first[-1].label, None)
    secret = new_secret()
    return FirstKey(_make(batch, digest_of(secret), masked(secret), "First key", "first", now).label, secret)


def _named(batch: Batch, secret: str, name: str, now: int, *, management: bool) -> ApiKey:
    """The environment's key; one that it named before and does not any more is disabled."""
    digest = digest_of(secret)
    row = batch.connection.execute(select(api_keys).where(api_keys.c.hash == digest.hex())).mappings().one_or_none()
    if row is None:
        _disable_others(batch, digest, now, management=management)
        return _make(batch, digest, masked(secret), name, "environment", now, management=management)
    known = ApiKey(**row)
    if known.management != management:
        kind = "a management key" if known.management else "an API key"
        raise SettingsError(f"the environment's key {known.label} is known as {kind}; name another")
    if known.deleted_at is not None:
        log.warning("the environment's key %s was deleted and stays so: name another", known.label)
        return known
    _disable_others(batch, digest, now, management=management)
    if known.disabled:  # by another name in the environment, which is taken back now, or by hand
        log.warning("the environment names the disabled key %s: it is enabled", known.label)
        keys.change(batch, [keys.KeyChange(known.hash, {"disabled": False}, now)])
    return known


def _disable_others(batch: Batch, digest: bytes, now: int, *, management: bool) -> None:
    for key in _of_source(batch, "environment", management=management):
        if key.hash != digest.hex() and not key.disabled:
            log.warning("the environment names another key now: %s is disabled", key.label)
            keys.change(batch, [keys.KeyChange(key.hash, {"disabled": True}, now)])


def _tell_forgotten(batch: Batch, now: int, *, management: bool) -> None:
    for key in _of_source(batch, "environment", management=management):
        if key.usable(now):
            log.warning("the key %s, which the environment named before, is still good: delete it if it should not be",
                        key.label)  # fmt: skip


def _take_over(batch: Batch, path: Path, now: int) -> None:
    """The key that version 0.1 kept in a file."""
    if not path.is_file():
        return
    try:
        digest, label = path.read_text(encoding="ascii").split()
        raw = bytes.fromhex(digest)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read as a kept key; start once with --new-key to replace it") from error
    if len(raw) != 32:
        raise SettingsError(f"{path} is damaged; start once with --new-key to replace it")
    there = batch.connection.execute(select(api_keys.c.id).where(api_keys.c.hash == digest)).first()
    if there is None:
        _make(batch, raw, label, "First key", "first", now)


def _make(
    batch: Batch, digest: bytes, label: str, name: str, source: Source, now: int, *, management: bool = False
) -> ApiKey:
    (made,) = keys.create(batch, [NewKey(digest, label, name, source, now, WORKSPACE, management=management)])
    if isinstance(made, Exception):
        raise made
    return made


def _of_source(batch: Batch, source: Source, *, management: bool) -> list[ApiKey]:
    query = select(api_keys).where(
        api_keys.c.source == source,
        api_keys.c.deleted_at.is_(None),
        api_keys.c.management.is_(management),
    )
    return [ApiKey(**row) for row in batch.connection.execute(query.order_by(api_keys.c.id)).mappings()]
