"""A server over a month of demo data, for pages that need something to show."""

import atexit
import contextlib
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page

from server import MODEL, Server, cli, eventually, serving


class DemoSite(NamedTuple):
    """A running server; who may sign in and what may ask it."""

    server: Server
    email: str  # the administrator's
    password: str
    key: str  # a usable key's secret

    @property
    def root(self) -> str:
        return self.server.root

    def sign_in(self, page: Page) -> None:
        """By the form."""
        page.goto(f"{self.root}/login")
        page.fill("input[name=email]", self.email)
        page.fill("input[name=password]", self.password)
        page.click("main button")
        page.wait_for_url(lambda url: "/login" not in url)

    def batch(self, *texts: str) -> str:
        """Make one; its path in the API."""
        requests = [{"custom_id": f"item-{number:04}", "body": {"input": text}} for number, text in enumerate(texts)]
        body = {"endpoint": "/v1/embeddings", "model": MODEL, "requests": requests, "metadata": {"of": "the catalogue"}}
        made = self.server.request("POST", "/api/v1/batches", body, key=self.key)
        assert made.status == 202, made.body
        return f"/api/v1/batches/{made.json()['id']}"


@cache
def demo() -> DemoSite:
    """One for the session."""
    stack = contextlib.ExitStack()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedrouter-demo-")))
    made = cli("demo", "--data-dir", folder / "data", "--requests", 3000, "--json", timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr
    told = json.loads(made.stdout)
    server = stack.enter_context(serving(folder, key=None))
    atexit.register(stack.close)
    key = next(one["key"] for one in told["keys"] if one["usable"] and not one["management"])
    site = DemoSite(server, told["users"][0]["email"], told["users"][0]["password"], key)
    path = site.batch(*(f"What is number {number} about?" for number in range(5)), "word " * 9000)  # the last one fails
    eventually(lambda: server.request("GET", path, key=key).json()["status"] == "completed")
    return site
