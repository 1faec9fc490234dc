"""The installation's id: the same for all processes with one database, and telling nothing about it."""

import secrets
from collections.abc import Sequence

from sqlalchemy import select

from embedrouter.store.session import Batch
from embedrouter.store.tables import marks

_NAME = "installation"


def identify(batch: Batch, asked: Sequence[None]) -> Sequence[str]:
    """The writer's handler: the id, made when it is asked for the first time."""
    made = batch.database.insert(marks).values(name=_NAME, value=secrets.randbits(62))
    batch.connection.execute(made.on_conflict_do_nothing())
    found = batch.connection.execute(select(marks.c.value).where(marks.c.name == _NAME)).scalar_one()
    return [f"{found:016x}"] * len(asked)
