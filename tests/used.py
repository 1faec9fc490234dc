"""A server whose database the tests fill with the usage of days gone by."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from ledger.sums import Books
from server import KEY, MANAGER, Answer, Server, shared


class Used(NamedTuple):
    """The server, and its database beside it."""

    server: Server
    books: Books

    def get(self, path: str, *, key: str | None = MANAGER, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.request("GET", f"/api/v1{path}", headers=sent, key=key)

    def query(self, *, key: str | None = MANAGER, accept: str | None = None, **body: Any) -> Answer:
        """POST /analytics/query."""
        headers = {"Accept": accept} if accept else {}
        return self.server.request("POST", "/api/v1/analytics/query", body, headers, key=key)

    def rows(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.query(**body)
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json()["data"]["data"]
        return found


@cache
def _used() -> Used:
    server = shared(management_key=MANAGER, keep_usage_days=100_000)  # so that no other tests share it
    return Used(server, Books(f"sqlite:///{server.data_dir / 'embedrouter.db'}", KEY))


@pytest.fixture(scope="session")
def used() -> Iterator[Used]:
    """Shared by the session: a test keeps to days, keys or models of its own."""
    yield _used()
    _used().books.writer.close()
    _used().books.database.close()
