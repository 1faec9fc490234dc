"""All keys in memory, so that nothing on a request's road asks the database who somebody is."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, select

from embedrouter.accounts import keys
from embedrouter.accounts.keys import ApiKey, digest_of
from embedrouter.periods import Period
from embedrouter.store import Database
from embedrouter.store.tables import budgets, workspaces


class Workspace(NamedTuple):
    """What a request must know of its key's workspace."""

    id: str
    in_rankings: bool
    budgets: tuple[Period, ...]


class KeyRing:
    """Knows every key. Thread-safe: readers see whole structs, and changes come one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_digest: dict[bytes, ApiKey] = {}
        self._workspaces: dict[str, Workspace] = {}
        self._revision = 0
        self._changing = threading.Lock()

    def load(self) -> None:
        """Take in what changed since the last time, also by other processes. Raises StoreUnavailableError."""
        changed, found = self._database.read_now(self._changes)
        with self._changing:
            self._workspaces = found
            self._learn(changed)
            self._revision = max([self._revision, *(key.revision for key in changed)])

    def learn(self, key: ApiKey) -> None:
        """Take in a key that this process has just made or changed."""
        with self._changing:
            self._learn([key])

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, usable or not. By its whole digest: a part of a key is no key."""
        return self._by_digest.get(digest_of(secret))

    def workspace(self, key: ApiKey) -> Workspace:
        """A key's workspace."""
        return self._workspaces.get(key.workspace_id) or Workspace(key.workspace_id, in_rankings=False, budgets=())

    def _learn(self, changed: Iterable[ApiKey]) -> None:
        for key in changed:
            digest = bytes.fromhex(key.hash)
            known = self._by_digest.get(digest)
            if known is None or known.revision < key.revision:
                self._by_digest[digest] = key

    def _changes(self, connection: Connection) -> tuple[list[ApiKey], dict[str, Workspace]]:
        limited: dict[str, list[Period]] = {}
        for row in connection.execute(select(budgets.c.workspace_id, budgets.c.period).order_by(budgets.c.period)):
            limited.setdefault(row.workspace_id, []).append(row.period)
        found = {
            row.id: Workspace(row.id, row.in_rankings, tuple(limited.get(row.id, ())))
            for row in connection.execute(select(workspaces.c.id, workspaces.c.in_rankings))
        }
        return keys.changed_since(connection, self._revision), found
