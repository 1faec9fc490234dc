"""The key that a person's Playground asks with: his, listed, limited and billed like any other.

Nobody has its secret, the person neither: its digest is random, so that no secret is known to give it.
"""

import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select

from embedrouter.accounts import marks
from embedrouter.accounts.caller import Caller, Gatekeeper
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import REVISION, ApiKey
from embedrouter.errors import PermissionDeniedError
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.tables import api_keys

NAME: Final = "Playground"
LABEL: Final = "used by the Playground"  # there is no secret to mask


class Wanted(NamedTuple):
    """Whose key, and when in microseconds."""

    owner_id: str
    at: int


class Desk(NamedTuple):
    """What it takes to find a person's key, and to make it."""

    database: Database
    writer: Writer
    gatekeeper: Gatekeeper

    async def caller(self, wanted: Wanted) -> Caller:
        """Who asks when this person's Playground does. Raises PermissionDeniedError, OverloadedError."""
        key = await self.database.read(lambda connection: find(connection, wanted.owner_id))
        if key is None:
            key = await self.writer.write(make, wanted)
        if not key.usable(wanted.at):
            how = "disabled" if key.disabled else "expired"
            raise PermissionDeniedError(f'Your key "{key.name}", which the Playground uses, is {how}; see your keys')
        return self.gatekeeper.admit_key(key)


def find(connection: Connection, owner_id: str) -> ApiKey | None:
    """A person's, if it was made and not deleted."""
    query = select(api_keys).where(
        api_keys.c.owner_id == owner_id, api_keys.c.source == "playground", api_keys.c.deleted_at.is_(None)
    )
    row = connection.execute(query.order_by(api_keys.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else ApiKey(**row)


def make(batch: Batch, wanted: Sequence[Wanted]) -> Sequence[ApiKey | Exception]:
    """The writer's handler: makes keys, each only where there is none."""
    return [_make(batch, one) for one in wanted]


def _make(batch: Batch, wanted: Wanted) -> ApiKey:
    revision = marks.grow(batch, REVISION)  # takes the lock by which no other process makes one, too
    there = find(batch.connection, wanted.owner_id)
    if there is not None:
        return there
    row = batch.connection.execute(
        insert(api_keys)
        .values(
            hash=secrets.token_hex(32),
            label=LABEL,
            name=NAME,
            source="playground",
            management=False,
            owner_id=wanted.owner_id,
            workspace_id=WORKSPACE,
            disabled=False,
            private=True,  # trying out is nobody's app
            include_byok_in_limit=False,
            created_at=wanted.at,
            revision=revision,
        )
        .returning(api_keys)
    ).mappings()
    return ApiKey(**row.one())
