"""People at the dashboard: what they do there, and what they read on its pages."""

import html
import re
from functools import cache
from typing import Any

from security.people import Browser, office
from server import EMBEDDINGS, MODEL, Answer, Server

SECRET = re.compile(r"sk-er-v1-[0-9a-f]{64}")


def text_of(answer: Answer) -> str:
    """A page as it is read: no tags, one space between words."""
    assert answer.headers["content-type"].startswith("text/html"), answer.headers
    shown = re.sub(r"<script.*?</script>|<style.*?</style>", " ", answer.body.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def make_key(person: Browser, name: str, **fields: str) -> tuple[str, str]:
    """By the form; the secret and the hash."""
    answer = person.form("/dashboard/keys", name=name, **fields)
    page = answer.body.decode()
    assert answer.status == 200, page
    found = re.search(r'href="/dashboard/keys/([0-9a-f]{64})"', page)
    assert found is not None
    return SECRET.findall(page)[0], found[1]


def embed(server: Server, key: str, text: str = "hello", **headers: str) -> Answer:
    """A real request with a key. headers: `User_Agent="x"`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", EMBEDDINGS, {"model": MODEL, "input": text}, sent, key=key)


@cache
def manager() -> str:
    """A management key of the office's server, made on its page by the administrator."""
    return make_key(office(), "Manager of the tests", management="true")[0]


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the API answers to that key."""
    answer = office().server.request(method, f"/api/v1{path}", body, key=manager())
    assert answer.status < 300, answer.body
    return answer.json()
