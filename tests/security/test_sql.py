"""Attack 19: the queries themselves, behind the routes that check what they are given."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from embedrouter.accounts import first, invites, keys, sessions, users
from embedrouter.accounts.keys import KeyFilter
from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.ledger import generations
from ledger.books import NOON, Books, opened


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with opened(database_url) as books:
        _with_a_user(books)
        with books.database.read_engine.connect() as made:
            yield made


def _with_a_user(books: Books) -> None:
    books.do(first.furnish, NOON)
    books.do(users.create, users.NewUser("somebody@example.org", "", "hash", "admin", NOON))


@pytest.mark.parametrize(
    "evil",
    [
        "' OR '1'='1",
        "' OR 1=1 --",
        "'; DROP TABLE api_keys; --",
        '" OR ""="',
        "%",
        "_" * 64,
        "\\",
        "\\' OR 1=1 --",
        "%(p)s :x ? %s",
        "' UNION SELECT hash FROM api_keys --",
    ],
)
def test_19_what_looks_like_sql_is_a_value_that_nothing_has(connection: Connection, evil: str) -> None:
    before = keys.list_keys(connection, KeyFilter())
    assert len(before) == 1
    for find in (keys.find, users.find):
        with pytest.raises(NotFoundError):
            find(connection, evil)
    with pytest.raises(NotFoundError):
        keys.find(connection, before[0].hash, evil)
    with pytest.raises(InvalidRequestError, match="8 hex digits"):
        keys.find_by_prefix(connection, evil)
    assert keys.list_keys(connection, KeyFilter(owner_id=evil)) == []
    assert keys.list_keys(connection, KeyFilter(workspace_id=evil)) == []
    assert users.find_by_email(connection, evil) is None
    assert sessions.find(connection, evil, NOON) is None
    assert sessions.list_sessions(connection, evil, NOON) == []
    assert invites.find(connection, evil, NOON) is None
    assert generations.get(connection, evil) is None
    assert generations.get_prompt(connection, evil) is None
    assert keys.list_keys(connection, KeyFilter()) == before
    assert len(users.list_users(connection)) == 1


def test_19_metacharacters_are_kept_as_they_are(database_url: str) -> None:
    """In what may be any text: a name."""
    evil = "'; DELETE FROM users; -- %s :x ?"
    with opened(database_url) as books:
        _with_a_user(books)
        books.do(users.create, users.NewUser("evil'--@example.org", evil, "hash", "member", NOON))
        found = books.database.read_now(users.list_users)
        assert {user.name for user in found} == {"", evil}
