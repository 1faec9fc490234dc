"""Who may use which route: every route there is, with every kind of caller. A route without a rule fails here."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from embedrouter.accounts.caller import Gatekeeper
from embedrouter.api import problems
from embedrouter.api.auth import PUBLIC, Access, Guard, Rule, check_rules, rules
from embedrouter.app import make_app, make_context, open_store
from embedrouter.errors import EmbedRouterError
from embedrouter.minilm import MiniLM
from embedrouter.settings import Settings
from server import EMBEDDINGS, KEY, MANAGER, Answer, Server, eventually

# Litestar 2 warns of what Litestar 3 will want spelt out.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

# Nothing else is open to everybody. Whoever adds a line here must mean it.
_PUBLIC = {
    "/", "/login", "/logout", "/setup", "/reset", "/theme", "/search.json", "/assets/{name:str}",
    "/models", "/models/{author:str}/{slug:str}",
    *(
        f"/{{author:str}}/{{slug:str}}{tab}"
        for tab in ("", "/providers", "/performance", "/pricing", "/apps", "/activity", "/uptime", "/api")
    ),
    "/rankings", "/apps", "/providers", "/providers/{slug:str}", "/pricing", "/status", "/status.json",
    "/playground", "/api/internal/session", "/api/internal/setup",
    "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/docs/{name:str}",
    "/docs/reference", "/docs/reference/{name:str}", "/llms.txt", "/llms-full.txt",
    *(
        f"{base}{path}"
        for base in ("/api/v1", "/v1")
        for path in (
            "/models", "/models/count", "/embeddings/models", "/model/{author:str}/{slug:str}",
            "/models/{author:str}/{slug:str}/endpoints", "/providers", "/endpoints/zdr",
        )
    ),
}  # fmt: skip
# Nothing else is open to keys that embed.
_ANY_KEY = {
    f"{base}{path}"
    for base in ("/api/v1", "/v1")
    for path in (
        "/key",
        "/auth/key",
        "/generation",
        "/generation/content",
        "/datasets/rankings-daily",
        "/datasets/app-rankings",
        "/models/user",
        "/presets",
        "/presets/{slug:str}",
        "/presets/{slug:str}/versions",
        "/presets/{slug:str}/versions/{version:str}",
    )
}
# Nothing else is closed to keys that manage.
_EMBEDS = {
    *(f"{base}/{name}" for base in ("/api/v1", "/v1") for name in ("embeddings", "rerank", "similarity", "tokenize")),
    *(
        f"{base}{path}"
        for base in ("/api/v1", "/v1")
        for path in ("/files", "/files/{file_id:str}", "/files/{file_id:str}/content")
    ),
    *(
        f"{base}/batches{path}"
        for base in ("/api/v1", "/v1", "/api/beta")
        for path in ("", "/callback_secret", "/{id:str}", "/{id:str}/cancel")
    ),
}
_CALLERS = ("nobody", "wrong", "disabled", "expired", "deleted", "inference", "management")


@pytest.fixture(scope="module")
def app(model: MiniLM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Litestar]:
    """The application itself, to read its routes; the requests go to the server."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("access"), management_key=MANAGER)
    settings.data_dir.mkdir(exist_ok=True)
    store = open_store(settings)
    yield make_app(make_context(settings, store, model))
    store.close()


@pytest.fixture(scope="module")
def secrets(managed: Server) -> dict[str, str | None]:
    """A key of each kind of caller."""
    disabled, item = managed.new_key()
    managed.manage("PATCH", f"/keys/{item['hash']}", {"disabled": True})
    deleted, item = managed.new_key()
    managed.manage("DELETE", f"/keys/{item['hash']}")
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expired, _ = managed.new_key(expires_at=soon.isoformat())
    eventually(lambda: managed.request("GET", "/api/v1/key", key=expired).status == 401)
    return {
        "nobody": None,
        "wrong": "sk-er-v1-" + "0" * 64,
        "disabled": disabled,
        "expired": expired,
        "deleted": deleted,
        "inference": KEY,
        "management": MANAGER,
    }


def _expected(access: Access | None, caller: str) -> int | None:
    """The status of a refusal; None: it may pass."""
    if access == "public":
        return None
    if access in ("session", "admin"):  # which no key opens; test_login.py asks them as people
        return 401
    if caller not in ("inference", "management"):
        return 401
    return None if access in ("key", caller) else 403


def test_every_route_declares_its_rule_and_something_enforces_it(app: Litestar) -> None:
    found = list(rules(app))
    assert len(found) > 40
    assert not [rule for rule in found if rule.access is None or not rule.enforced]
    check_rules(app)


def test_only_what_is_meant_to_be_is_open(app: Litestar) -> None:
    found = list(rules(app))
    assert {rule.path for rule in found if rule.access == "public"} == _PUBLIC
    assert {rule.path for rule in found if rule.access == "key"} == _ANY_KEY
    assert {rule.method for rule in found if rule.access == "key"} == {"GET"}
    assert {rule.path for rule in found if rule.access == "inference"} == _EMBEDS


@pytest.mark.parametrize("caller", _CALLERS)
def test_every_route_lets_pass_whom_its_rule_names(
    app: Litestar, managed: Server, secrets: dict[str, str | None], caller: str
) -> None:
    wrong = []
    for rule in rules(app):
        answer = _ask(managed, rule, secrets[caller])
        expected = _expected(rule.access, caller)
        if expected is None:
            right = answer.status not in (401, 403) and answer.status < 500
        elif rule.access in ("session", "admin") and not rule.path.startswith("/api/"):
            target = re.sub(r"\{\w+:str\}", "x", rule.path) if rule.method == "GET" else "/dashboard"
            right = (answer.status, answer.headers.get("location")) == (303, f"/login?next={target}")
        else:
            right = answer.status == expected
            answer.error(expected, "authentication" if expected == 401 else "permission_denied")
        if not right:
            wrong.append((rule.method, rule.path, rule.access, answer.status))
    assert not wrong


def _ask(server: Server, rule: Rule, secret: str | None) -> Answer:
    path = re.sub(r"\{\w+:str\}", "x", rule.path)
    body = "{}" if rule.method in ("POST", "PATCH", "PUT") else None
    return server.request(rule.method, path, body, {"Sec-Fetch-Site": "same-origin"}, key=secret)


def test_what_is_refused_with_403_says_who_could(managed: Server) -> None:
    told = managed.request("GET", "/api/v1/keys", key=KEY).error(403, "permission_denied")
    assert told["message"] == "Only management keys can perform this operation"
    managed.request("POST", EMBEDDINGS, "{}", key=MANAGER).error(403, "permission_denied")


def test_an_application_with_a_route_that_has_no_rule_does_not_start(app: Litestar) -> None:
    @get("/forgotten")
    async def forgotten() -> dict[str, str]:
        return {}

    @get("/unguarded", opt=PUBLIC)
    async def unguarded() -> dict[str, str]:
        return {}

    for handler in (forgotten, unguarded):
        with pytest.raises(RuntimeError, match=r"GET /\w+ needs opt=PUBLIC"):
            check_rules(Litestar([handler], openapi_config=None))


def test_the_guard_refuses_everybody_where_no_rule_is_declared(tmp_path: Path) -> None:
    @get("/forgotten")
    async def forgotten() -> dict[str, str]:
        return {"secret": "of the house"}

    store = open_store(Settings(data_dir=tmp_path, api_key=KEY, management_key=MANAGER))
    handlers: Any = {EmbedRouterError: problems.on_known}
    guard = Guard(Gatekeeper(store.ring, "track"))
    with TestClient(Litestar([forgotten], guards=[guard], exception_handlers=handlers)) as client:
        assert client.get("/forgotten").status_code == 401
        for key in (KEY, MANAGER):
            answer = client.get("/forgotten", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == 403
            assert "house" not in answer.text
    store.close()


def test_litestars_own_documentation_pages_are_not_served(managed: Server) -> None:
    """They would load scripts from other servers."""
    for path in ("/schema", "/schema/swagger", "/schema/openapi.json", "/schema/oauth2-redirect.html"):
        managed.get(path).error(404, "not_found")
