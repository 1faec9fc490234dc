from collections.abc import Iterator

import pytest

from accounts.house import House, house


@pytest.fixture
def home(database_url: str) -> Iterator[House]:
    """A reception on SQLite and on PostgreSQL."""
    with house(database_url) as opened:
        yield opened
