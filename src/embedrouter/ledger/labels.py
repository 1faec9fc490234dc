"""What people call the things that rows name by their ids."""

from collections.abc import Collection, Iterator
from typing import Any, Final

from sqlalchemy import Connection, select

from embedrouter.store.tables import api_keys, apps, users, workspaces

_CHUNK: Final = 5_000  # ids in one query

Label = tuple[str | int | None, ...]
"""Values of a dimension's columns, in their order."""


def labels(connection: Connection, dimension: str, ids: Collection[Any]) -> dict[Any, Label]:
    """Of these ids; an id that names nothing any more stands for itself."""
    match dimension:
        case "api_key_id":
            rows = _rows(connection, select(api_keys.c.id, api_keys.c.name, api_keys.c.hash), api_keys.c.id, ids)
            found: dict[Any, Label] = {row.id: (row.name, row.hash) for row in rows}
            return {one: found.get(one, (str(one), None)) for one in ids}
        case "app":
            rows = _rows(connection, select(apps.c.id, apps.c.title, apps.c.url), apps.c.id, ids)
            found = {row.id: (row.title or row.url, row.id) for row in rows}
            return {one: found.get(one, (str(one) if one else None, one or None)) for one in ids}
        case "workspace":
            rows = _rows(connection, select(workspaces.c.id, workspaces.c.name), workspaces.c.id, ids)
            found = {row.id: (row.name, row.id) for row in rows}
            return {one: found.get(one, (one, one)) for one in ids}
        case "user":
            rows = _rows(connection, select(users.c.id, users.c.name, users.c.email), users.c.id, ids)
            found = {row.id: (row.name or row.email, row.email, row.id) for row in rows}
            return {one: found.get(one, (one, None, one)) for one in ids}
    return {one: (one,) for one in ids}


def _rows(connection: Connection, query: Any, column: Any, ids: Collection[Any]) -> Iterator[Any]:
    known = [one for one in ids if one is not None]
    for start in range(0, len(known), _CHUNK):
        yield from connection.execute(query.where(column.in_(known[start : start + _CHUNK])))
