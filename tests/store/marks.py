"""Handlers that write into `marks`, for tests of the writer."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from embedrouter.store import Batch
from embedrouter.store.tables import marks


def add(batch: Batch, names: Sequence[str]) -> Sequence[int | Exception]:
    """One row a name. `refused...` is answered with an exception, `poison...` raises one."""
    answers: list[int | Exception] = []
    for name in names:
        if name.startswith("refused"):
            answers.append(ValueError(name))
            continue
        if name.startswith("poison"):
            raise RuntimeError(name)
        batch.connection.execute(marks.insert(), {"name": name, "value": 1})
        answers.append(1)
    return answers


def add_quickly(batch: Batch, names: Sequence[str]) -> Sequence[None]:
    """By the driver's own cursor, as the hot path does."""
    mark = "?" if batch.database.is_sqlite else "%s"
    batch.cursor.executemany(f"INSERT INTO marks (name, value) VALUES ({mark}, 1)", [(name,) for name in names])
    return [None] * len(names)


def add_once(batch: Batch, names: Sequence[str]) -> Sequence[bool]:
    """Looks before it adds, as every handler must; whether this was the second try."""
    insertion = batch.database.insert(marks).on_conflict_do_nothing()
    batch.connection.execute(insertion, [{"name": name, "value": 1} for name in names])
    return [batch.again] * len(names)


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(marks)).scalar_one())


def names(connection: Connection) -> set[str]:
    return set(connection.execute(select(marks.c.name)).scalars())
