"""Counters that grow with every change of something, by which other processes find that there is one."""

from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from embedrouter.store import Batch
from embedrouter.store.tables import marks

RULES: Final = "rules_revision"  # guardrails and who has them
PRESETS: Final = "presets"

# Built once: each process asks several times a second, and building it costs ten times what SQLite's answer does.
_VALUE: Final = select(func.coalesce(func.max(marks.c.value), 0)).where(marks.c.name == bindparam("name"))


def grow(batch: Batch, name: str) -> int:
    """The counter's next value. Taken under the row's lock until the commit, so that values become visible in order."""
    added = batch.database.insert(marks).values(name=name, value=1)
    grown = added.on_conflict_do_update(index_elements=[marks.c.name], set_={"value": marks.c.value + 1})
    return int(batch.connection.execute(grown.returning(marks.c.value)).scalar_one())


def value(connection: Connection, name: str) -> int:
    """0 before the first change."""
    return int(connection.execute(_VALUE, {"name": name}).scalar_one())
