from collections.abc import Iterator

import pytest

from ledger.books import Books
from ledger.traffic import traffic

__all__ = ["traffic"]


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest) -> Iterator[Books]:
    """Empty books on SQLite, and on PostgreSQL. One database a session: making one takes longer than most tests."""
    made = Books(request.getfixturevalue(f"_{request.param}_url"))
    made.empty()
    yield made
    made.close()


@pytest.fixture(scope="session")
def _sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('books') / 'embedrouter.db'}"


@pytest.fixture(scope="session")
def _postgresql_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("postgres").create_database()
    return url
