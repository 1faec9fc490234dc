"""The connection broke after a commit whose answer was lost: the writer tries again, and what is done stays done."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedrouter.accounts import first, keys
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import ApiKey, KeyChange, NewKey, digest_of
from embedrouter.errors import ConflictError, NotFoundError
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate

_WANTED = NewKey(digest_of("a secret"), "label", "name", "api", 1, WORKSPACE)


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    opened = Database(database_url)
    migrate(opened)
    writer = Writer(opened)
    first.prepare(writer, first.Wanted(None, None, False, tmp_path))
    writer.close()
    yield opened
    opened.close()


def _create(database: Database, *, again: bool) -> ApiKey | Exception:
    with database.write_engine.begin() as connection:
        return keys.create(Batch(connection, connection.connection.cursor(), database, again), [_WANTED])[0]


def _delete(database: Database, at: int, *, again: bool) -> ApiKey | Exception:
    with database.write_engine.begin() as connection:
        change = KeyChange(_WANTED.digest.hex(), {"deleted_at": at}, at)
        return keys.change(Batch(connection, connection.connection.cursor(), database, again), [change])[0]


def test_a_key_that_the_first_try_made_is_the_answer_of_the_second(database: Database) -> None:
    made = _create(database, again=False)
    assert isinstance(made, ApiKey)
    assert _create(database, again=True) == made
    assert isinstance(_create(database, again=False), ConflictError)


def test_a_key_that_the_first_try_deleted_is_deleted_by_the_second(database: Database) -> None:
    _create(database, again=False)
    gone = _delete(database, 5, again=False)
    assert isinstance(gone, ApiKey)
    assert _delete(database, 5, again=True) == gone
    assert isinstance(_delete(database, 5, again=False), NotFoundError)
    assert isinstance(_delete(database, 6, again=True), NotFoundError), "somebody else deleted it"
