"""All keys in memory, with the rules they are under, so that nothing on a request's road asks the database for them."""

import threading
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from embedrouter.accounts import guardrails, keys, marks
from embedrouter.accounts.guardrails import Guardrail, constraints_of, default_id
from embedrouter.accounts.keys import ApiKey, digest_of
from embedrouter.accounts.workspaces import preferences_of
from embedrouter.catalog.constraints import Constraints
from embedrouter.errors import OverloadedError
from embedrouter.periods import Period
from embedrouter.store import Database
from embedrouter.store.tables import budgets, workspaces

# Built once, as those of marks.py.
_BUDGETS: Final = select(budgets.c.workspace_id, budgets.c.period).order_by(budgets.c.period)
_WORKSPACES: Final = select(workspaces.c.id, workspaces.c.in_rankings, workspaces.c.settings)


class Workspace(NamedTuple):
    """What a request must know of its key's workspace."""

    id: str
    in_rankings: bool
    budgets: tuple[Period, ...]
    default_sort: str | None = None


class Terms(NamedTuple):
    """What a key is under, of its workspace's rules and its guardrails'."""

    constraints: Constraints
    budgets: tuple[tuple[str, Period], ...]  # the guardrails that have one


class _Rules:
    """Guardrails and who has them, as of one revision. What two rules come to is found out once."""

    def __init__(self, revision: int, found: dict[str, Guardrail], by_key: dict[int, str]) -> None:
        self.revision = revision
        self.found = found
        self.by_key = by_key
        self._terms: dict[tuple[Workspace, str | None], Terms] = {}

    def terms(self, key: ApiKey, workspace: Workspace) -> Terms:
        """Of a key in a workspace."""
        of = (workspace, self.by_key.get(key.id))
        if (known := self._terms.get(of)) is None:
            ids = [default_id(workspace.id), *([] if of[1] is None else [of[1]])]
            holding = [self.found[id_] for id_ in ids if id_ in self.found]
            known = self._terms[of] = _terms(workspace, holding)
        return known


class KeyRing:
    """Knows every key. Thread-safe: readers see whole structs, and changes come one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_digest: dict[bytes, ApiKey] = {}
        self._by_id: dict[int, ApiKey] = {}
        self._workspaces: dict[str, Workspace] = {}
        self._rules = _Rules(-1, {}, {})
        self._revision = 0
        self._loading = threading.Lock()  # what was read first is taken in first
        self._changing = threading.Lock()

    def load(self) -> None:
        """Take in what changed since the last time, also by other processes. Raises StoreUnavailableError."""
        with self._loading:
            changed, found, rules = self._database.read_now(self._changes)
            with self._changing:
                self._workspaces = found
                self._rules = rules
                self._learn(changed)
                self._revision = max([self._revision, *(key.revision for key in changed)])

    def learn(self, key: ApiKey) -> None:
        """Take in a key that this process has just made or changed."""
        with self._changing:
            self._learn([key])

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, usable or not. By its whole digest: a part of a key is no key."""
        return self._by_digest.get(digest_of(secret))

    def get(self, key_id: int) -> ApiKey | None:
        """A key by its number, usable or not."""
        return self._by_id.get(key_id)

    def workspace(self, key: ApiKey) -> Workspace:
        """A key's workspace. Raises OverloadedError while this process does not know it yet, for it may have rules."""
        found = self._workspaces.get(key.workspace_id)
        if found is None:
            raise OverloadedError("the key's workspace is being made known to this server; try again", retry_after=1)
        return found

    def terms(self, key: ApiKey) -> Terms:
        """What a key is under. Raises as `workspace`."""
        return self._rules.terms(key, self.workspace(key))

    def _learn(self, changed: Iterable[ApiKey]) -> None:
        for key in changed:
            digest = bytes.fromhex(key.hash)
            known = self._by_digest.get(digest)
            if known is None or known.revision < key.revision:
                self._by_digest[digest] = key
                self._by_id[key.id] = key

    def _changes(self, connection: Connection) -> tuple[list[ApiKey], dict[str, Workspace], _Rules]:
        limited: dict[str, list[Period]] = {}
        for row in connection.execute(_BUDGETS):
            limited.setdefault(row.workspace_id, []).append(row.period)
        found = {
            row.id: Workspace(
                row.id,
                row.in_rankings,
                tuple(limited.get(row.id, ())),
                preferences_of(row.settings).default_provider_sort,
            )
            for row in connection.execute(_WORKSPACES)
        }
        revision = marks.value(connection, marks.RULES)
        rules = self._rules
        if revision != rules.revision:
            there = {one.id: one for one in guardrails.all_guardrails(connection)}
            rules = _Rules(revision, there, guardrails.guarded_keys(connection))
        elif found != self._workspaces:  # what was found out about them is forgotten
            rules = _Rules(revision, rules.found, rules.by_key)
        return keys.changed_since(connection, self._revision), found, rules


def _terms(workspace: Workspace, holding: Iterable[Guardrail]) -> Terms:
    constraints = Constraints(workspace_id=workspace.id, default_sort=workspace.default_sort)
    limited = []
    for guardrail in holding:
        constraints = constraints.both(constraints_of(guardrail.rules))
        if guardrail.limit_pico is not None:
            limited.append((guardrail.id, guardrail.limit_reset or "total"))
    return Terms(constraints, tuple(limited))
