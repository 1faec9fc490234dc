from collections.abc import Iterator

import pytest

from ledger.books import Books, opened


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """Opened books on SQLite, and on PostgreSQL."""
    with opened(database_url) as made:
        yield made
