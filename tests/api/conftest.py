from collections.abc import Iterator

import pytest

from server import MANAGER, Server, live, managed, serving, small

__all__ = ["live", "managed", "small"]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the management key MANAGER: the test runs on SQLite and on PostgreSQL."""
    postgres = request.param == "postgresql"
    chosen = {"database_url": request.getfixturevalue("postgres").create_database()} if postgres else {}
    with serving(tmp_path_factory.mktemp("kept"), management_key=MANAGER, **chosen) as server:
        yield server
