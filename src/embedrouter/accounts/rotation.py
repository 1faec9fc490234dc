"""Changing the key that seals, and proving that every sealed row opens."""

from typing import NamedTuple

from sqlalchemy import Connection

from embedrouter.accounts import credentials
from embedrouter.accounts.sealing import VARIABLE, Sealer, key_id
from embedrouter.errors import EmbedRouterError, SettingsError, StoreError
from embedrouter.store import Database, Writer


class Finding(NamedTuple):
    """A credential that does not open, and why."""

    id: str
    provider: str
    key: str  # the id of the key that sealed it
    reason: str


class Check(NamedTuple):
    """How many credentials there are, and which of them do not open."""

    credentials: int
    findings: list[Finding]


class Rotation(NamedTuple):
    """What a rotation did."""

    key: str  # the id of the key that seals now
    resealed: int
    dropped: tuple[str, ...]  # ids of the keys that are not needed any more; from a file they are gone


def check(connection: Connection, sealer: Sealer) -> Check:
    """Open every row."""
    found = credentials.snapshot(connection).rows
    findings = []
    for row in found:
        try:
            sealer.open(row.sealed, row.subject)
        except EmbedRouterError as error:
            findings.append(Finding(*row.subject, key_id(row.sealed), error.message))
    return Check(len(found), findings)


def rotate(database: Database, writer: Writer, sealer: Sealer) -> Rotation:
    """Seal all rows with another key: a new one in the file, or the first of those in the environment.

    May be killed at any time and run again. Raises StoreError for rows that do not open, SettingsError.
    """
    findings = database.read_now(lambda connection: check(connection, sealer)).findings
    if findings:
        raise StoreError(f"nothing was changed, for {len(findings)} of the credentials: {findings[0].reason}")
    before = tuple(key.id for key in sealer.current())
    if sealer.path is not None:
        with sealer.rotating() as new:
            return Rotation(new.id, writer.submit(credentials.reseal, sealer).result(), before)
    if len(before) == 1:
        raise SettingsError(
            f"{VARIABLE} holds one key, {before[0]}: put a new one before it (NEW_ID:$(openssl rand -base64 32),"
            f"{before[0]}:...) for every process, restart them, and rotate again; then the old key can be taken out"
        )
    return Rotation(before[0], writer.submit(credentials.reseal, sealer).result(), before[1:])
