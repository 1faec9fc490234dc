"""Browsers for tests of people's accounts: they keep cookies, say where a form comes from, and have an address each."""

import itertools
import re
from functools import cache
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from server import Answer, Server, shared

PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


class Browser:
    """One person's browser at one server. `site`: what it says of where a request comes from; None for nothing."""

    def __init__(self, server: Server, email: str = "", password: str = PASSWORD) -> None:
        number = next(_numbers)
        self.server = server
        self.email = email or f"person-{number}@example.org"
        self.password = password
        self.site: dict[str, str] = {"Sec-Fetch-Site": "same-origin"}
        self.address = f"10.0.{number // 256}.{number % 256}"
        self.cookies: dict[str, str] = {}

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, key: str | None = None
    ) -> Answer:
        """One request; cookies that come back are kept."""
        sent = {"X-Forwarded-For": self.address, **self.site}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.server.request(method, path, body, {**sent, **(headers or {})}, key=key)
        for name, morsel in SimpleCookie(answer.headers.get("set-cookie", "")).items():
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        return answer

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, **fields: Any) -> Answer:
        """JSON."""
        return self.send("POST", f"/api/internal{path}", fields)

    def form(self, path: str, /, **fields: str) -> Answer:
        """A page's form."""
        return self.send("POST", path, urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})

    def log_in(self, password: str | None = None) -> Answer:
        return self.post("/session", email=self.email, password=password or self.password)

    @property
    def user(self) -> dict[str, Any]:
        """Who the server takes it for; {} for nobody."""
        answer = self.get("/api/internal/session")
        found: dict[str, Any] = answer.json()["user"] if answer.status == 200 else {}
        return found

    def twin(self) -> "Browser":
        """The same person at another computer, signed in."""
        other = Browser(self.server, self.email, self.password)
        assert other.log_in().status == 200
        return other

    def invites(self, role: str = "member") -> "Browser":
        """A new person, who was invited by this one and is signed in."""
        url = self.post("/invites", role=role).json()["url"]
        person = Browser(self.server)
        answer = person.post("/setup", token=url.partition("token=")[2], email=person.email, password=PASSWORD)
        assert answer.status == 201, answer.body
        return person


def setup_token(server: Server) -> str | None:
    """That of the link which the server printed at its start."""
    found = re.search(r"/setup\?token=(\S+)", server.output())
    return None if found is None else found[1]


@cache
def office() -> Browser:
    """The administrator of a server for the whole session, which believes the address that a browser says."""
    server = shared(trust_proxy="true")
    admin = Browser(server)
    answer = admin.post("/setup", token=setup_token(server), email=admin.email, password=PASSWORD)
    assert answer.status == 201, answer.body
    return admin
