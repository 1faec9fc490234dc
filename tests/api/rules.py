"""Short words for tests of workspaces, guardrails and presets on a shared server."""

import itertools
import os
from typing import Any

from server import Server

_numbers = itertools.count(1)


def slug() -> str:
    """One that no other test has."""
    return f"s{os.getpid()}-{next(_numbers)}"


def made(server: Server, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a POST with the management key makes."""
    answer = server.manage("POST", path, body)
    assert answer.status == 201, answer.body
    data: dict[str, Any] = answer.json()["data"]
    return data


def workspace(server: Server, **fields: Any) -> dict[str, Any]:
    return made(server, "/workspaces", {"name": "A test's", "slug": slug(), **fields})


def told(server: Server, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The `data` of an answer to the management key."""
    answer = server.manage(method, path, body)
    assert answer.status == 200, answer.body
    data: dict[str, Any] = answer.json()["data"]
    return data
