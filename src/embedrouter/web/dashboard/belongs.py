"""Where a key belongs, as people call it."""

from contextlib import suppress
from typing import Any, NamedTuple

from embedrouter.accounts import users, workspaces
from embedrouter.accounts.keys import ApiKey
from embedrouter.errors import NotFoundError


class Belongs(NamedTuple):
    """Ids of what is gone."""

    workspace: str
    owner: str | None  # email


def belongs(connection: Any, key: ApiKey) -> Belongs:
    """Of one key."""
    found = Belongs(key.workspace_id, key.owner_id)
    with suppress(NotFoundError):
        found = found._replace(workspace=workspaces.find(connection, key.workspace_id).name)
    with suppress(NotFoundError):
        found = found._replace(owner=key.owner_id and users.find(connection, key.owner_id).email)
    return found
