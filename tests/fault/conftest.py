from collections.abc import Iterator

import pytest

from fault.bank import Bank


@pytest.fixture
def bank(database_url: str) -> Iterator[Bank]:
    """An endowed database for a server: SQLite and PostgreSQL."""
    made = Bank(database_url)
    made.endow()
    yield made
    made.close()
