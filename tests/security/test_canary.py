"""Attack 47: canaries in every secret and every text, a life of the program, and then a search of all that it left.

A secret may be in one place: the answer that tells it once. A prompt may be nowhere, unless the operator keeps prompts.
"""

import contextlib
import hashlib
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine, make_url, text

from cli.commands import Commands, Done
from postgres import PostgresServer
from security.evidence import Evidence, Watched
from security.people import Browser, setup_token
from server import EMBEDDINGS, MODEL, cli, environment, eventually, free_port, serving

_OUT = ("stdout", "stderr", "command")  # what a container's log or a terminal's history keeps


def _new(name: str) -> str:
    """A canary that says what it is."""
    return f"{name}canary{secrets.token_hex(10)}"


class Canaries(NamedTuple):
    """One of each. Those that the program makes itself are in `Life.made`."""

    api_key: str
    management_key: str
    wrong_key: str
    database_password: str
    password: str
    new_password: str
    wrong_password: str
    typed_password: str
    prompt: str
    title: str
    user: str
    session: str
    agent: str
    request: str
    reason: str
    provider_credential: str


class Life(NamedTuple):
    """What was lived, and what is left of it."""

    canaries: Canaries
    made: dict[str, tuple[str, set[str]]]  # by name: a secret, and the names of the places that may tell it
    evidence: Evidence
    keeps_prompts: bool


class _Kind(NamedTuple):
    database: str
    log_format: str
    keeps_prompts: bool


_KINDS = (
    _Kind("sqlite", "json", keeps_prompts=False),
    _Kind("postgresql", "text", keeps_prompts=True),
)


@pytest.fixture(scope="module", params=_KINDS, ids=lambda kind: "-".join(map(str, kind)))
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Lived once, then looked at by all tests."""
    kind: _Kind = request.param
    folder = tmp_path_factory.mktemp("life")
    canaries = Canaries(**{name: _new(name.replace("_", "")) for name in Canaries._fields})
    with contextlib.ExitStack() as stack:
        if kind.database == "sqlite":
            url = f"sqlite:///{folder / 'server' / 'data' / 'books.db'}"
            log = ""
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            url = stack.enter_context(_protected(server, canaries.database_password))
            log = str(server.folder / "log")
        yield _lived(kind, canaries, url, folder, log)


@contextlib.contextmanager
def _protected(postgres: PostgresServer, password: str) -> Iterator[str]:
    """The URL of a database of a role that has to show its password."""
    url = postgres.create_database()
    rules = postgres.data_dir / "pg_hba.conf"
    before = rules.read_text()
    role = f"canary_{secrets.token_hex(4)}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
        connection.execute(text(f"GRANT ALL ON SCHEMA public TO {role}"))
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n" + before)
        connection.execute(text("SELECT pg_reload_conf()"))
        try:
            named = make_url(url).set(drivername="postgresql", username=role, password=password)
            yield named.render_as_string(hide_password=False)
        finally:
            rules.write_text(before)
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))
    admin.dispose()
    postgres.drop(url)


def _lived(kind: _Kind, canaries: Canaries, url: str, folder: Path, postgres_log: str) -> Life:
    evidence = Evidence()
    made: dict[str, tuple[str, set[str]]] = {}
    settings = {
        "database_url": url,
        "management_key": canaries.management_key,
        "log_format": kind.log_format,
        "store_prompts": kind.keeps_prompts,
    }
    with serving(folder / "server", "--access-log", key=canaries.api_key, **settings) as plain:
        server = Watched(**vars(plain), evidence=evidence)
        commands = Commands(folder / "server" / "data", url)
        commands.variables["EMBEDROUTER_API_KEY"] = canaries.api_key
        commands.variables["EMBEDROUTER_MANAGEMENT_KEY"] = canaries.management_key
        _embed(server, canaries)
        _manage(server, canaries, made)
        _sign_in(server, canaries, made)
        _read_pages(server, canaries.api_key)
        _command(commands, canaries, made, evidence)
        _type_a_password(canaries, url, folder, evidence)
        evidence.add_arguments()
        evidence.add_files(server.data_dir, "while it runs")
        assert server.stop() == 0
    for name in ("stdout", "stderr"):
        evidence.add(name, (server.folder / name).read_bytes())
    evidence.add_files(server.data_dir, "afterwards")
    evidence.add_rows(url.replace("postgresql://", "postgresql+psycopg://"))
    if postgres_log:
        evidence.add("log of PostgreSQL", Path(postgres_log).read_bytes())
    return Life(canaries, made, evidence, kind.keeps_prompts)


def _manage_key(server: Watched, key: str, method: str, path: str, body: Any = None) -> Any:
    return server.request(method, f"/api/v1{path}", body, key=key)


def _embed(server: Watched, canaries: Canaries) -> None:
    """Requests right and wrong, with canaries in all that a client says."""
    prompt, wrong = canaries.prompt, canaries.wrong_key
    said = {
        "HTTP-Referer": "https://app.example.org",
        "X-Title": canaries.title,
        "User-Agent": canaries.agent,
        "X-Request-Id": canaries.request,
    }
    told = {"user": canaries.user, "session_id": canaries.session}
    found = [
        server.embed(prompt, said, **told),
        server.embed([prompt, f"another {prompt}"], said, encoding_format="base64", **told),
        *(server.embed(prompt, {**said, "X-OpenRouter-Cache": "true"}, **told) for _ in range(2)),
    ]
    assert [answer.status for answer in found] == [200] * 4
    assert found[-1].headers["x-openrouter-cache-status"] == "HIT"
    body = {"model": MODEL, "input": prompt, **told}
    sent = json.dumps(body)
    bearer = {"Authorization": f"Bearer {wrong}"}
    for status, answer in (
        (400, server.embed(f"{prompt} " * 9000, said, **told)),
        (400, server.embed([prompt, ""], said, **told)),
        (400, server.embed(prompt, said, dimensions=prompt)),
        (400, server.embed(prompt, said, provider={prompt: prompt, "only": prompt})),
        (404, server.embed(prompt, said, model="no/such")),
        (400, server.post(sent[:-1])),
        (400, server.post(f'{{"input": {prompt}}}')),
        (400, server.post(f'{{"{prompt}": "\\x{prompt}"}}')),
        (400, server.post(sent.encode("utf-16"))),
        (400, server.post(sent, {"Content-Encoding": "gzip"})),
        (401, server.request("POST", EMBEDDINGS, body, said, key=wrong)),
        (401, server.request("POST", f"{EMBEDDINGS}?key={wrong}", body, said)),
        (401, server.request("POST", EMBEDDINGS, body, {"Authorization": f"Basic {wrong}"})),
        (401, server.request("POST", EMBEDDINGS, body, {"Cookie": f"key={wrong}"})),
        (403, server.request("POST", EMBEDDINGS, body, said, key=canaries.management_key)),
        (404, server.request("GET", f"/{wrong}?{prompt}", headers=bearer)),
        (405, server.request("PUT", "/api/v1/keys", sent, bearer)),
        (401, server.request("GET", f"/api/v1/keys?x={wrong}", headers=bearer)),
    ):
        assert answer.status == status, answer.body


def _manage(server: Watched, canaries: Canaries, made: dict[str, tuple[str, set[str]]]) -> None:
    """Keys made, changed, used up and deleted; credits; what was used."""
    manager, prompt = canaries.management_key, canaries.prompt
    item: dict[str, Any] = {}
    for name, fields, status in (
        ("free", {}, 200),
        ("poor", {"limit": 0}, 402),
        ("slow", {"limit": 1, "requests_per_minute": 1}, 429),
        ("another manager", {"management": True}, 403),
    ):
        server.telling = f"telling the {name} key"
        answer = _manage_key(server, manager, "POST", "/keys", {"name": name, **fields})
        assert answer.status == 201, answer.body
        secret, item = answer.json()["key"], answer.json()["data"]
        made[f"the {name} key"] = (secret, {server.telling})
        server.telling = "answer"
        last = [server.request("POST", EMBEDDINGS, {"model": MODEL, "input": prompt}, key=secret) for _ in range(2)][-1]
        assert last.status == status, last.body
        server.request("GET", "/api/v1/key", key=secret)
    one = f"/keys/{item['hash']}"
    for method, path, body in (
        ("PATCH", one, {"name": "renamed", "limit": 2}),
        ("GET", one, None),
        ("PATCH", one, {"limit": canaries.wrong_key}),
        ("POST", "/keys", {"name": canaries.wrong_key, "key": canaries.wrong_key, "limit": canaries.wrong_key}),
        ("GET", f"/keys/{canaries.wrong_key}", None),
        ("GET", "/keys", None),
        ("POST", "/credits", {"amount": 5, "reason": canaries.reason}),
        ("POST", "/credits", {"amount": canaries.wrong_key, "reason": canaries.reason}),
        ("POST", "/byok", {"provider": "openai", "key": canaries.provider_credential}),
        ("POST", "/byok", {"provider": "nobody", "key": canaries.provider_credential}),
        ("POST", "/byok", {"provider": "openai", "key": canaries.provider_credential, "disabled": 1}),
        ("POST", "/byok", {"provider": f"sk-{canaries.wrong_key}" * 2, "key": "x"}),
        ("GET", "/credits", None),
        ("DELETE", one, None),
        ("GET", "/activity", None),
        ("GET", "/activity?format=csv", None),
        ("GET", "/analytics/meta", None),
        ("POST", "/analytics/query", {"metrics": ["total_usage"], "dimensions": ["app"]}),
        ("POST", "/analytics/query", {"metrics": ["none"]}),
        ("GET", "/datasets/rankings-daily", None),
    ):  # fmt: skip
        _manage_key(server, manager, method, path, body)
    generation = server.embed(prompt, {"X-Title": canaries.title}, user=canaries.user).json()["id"]
    for which in ("/generation", "/generation/content"):
        server.telling = f"telling of {which}"
        answer = server.request("GET", f"/api/v1{which}?id={generation}", key=canaries.api_key)
        assert answer.status in (200, 404), answer.body
    server.telling = "answer"


def _sign_in(server: Watched, canaries: Canaries, made: dict[str, tuple[str, set[str]]]) -> None:
    """The first administrator, an invitation, logins right and wrong, a new password, a way out."""
    token = setup_token(server)
    assert token is not None
    made["the setup link"] = (token, {"stdout", "telling the form of the setup link"})
    admin = Browser(server, "admin@example.org", canaries.password)
    _be_shown(server, admin, token, "the form of the setup link")
    _be_opened(server, made, admin, "the first session", lambda: admin.form("/setup", **_person(admin, token)))
    for secret in (canaries.wrong_password, canaries.wrong_key):
        assert admin.form("/login", email=admin.email, password=secret).status == 401
        Browser(server, f"{secret[-6:]}@example.org", secret).log_in().error(401, "authentication")
    Browser(server, "x" * 500, canaries.wrong_password).log_in()
    admin.send("POST", "/api/internal/session", f'{{"email": "a@b", "password": "{canaries.wrong_password}"')
    admin.post("/session", email="a@b", password=canaries.wrong_password, more=canaries.wrong_password)
    admin.post("/password", current_password=canaries.wrong_password, new_password=canaries.new_password)
    admin.post("/password", current_password=canaries.password, new_password="short")
    server.telling = "telling the invitation"
    url = admin.post("/invites", role="member").json()["url"]
    invited = url.partition("token=")[2]
    made["the invitation"] = (invited, {server.telling, "telling the form of the invitation"})
    server.telling = "answer"
    member = Browser(server, "member@example.org", canaries.password)
    _be_shown(server, member, invited, "the form of the invitation")
    _be_opened(server, made, member, "the member's session", lambda: member.form("/setup", **_person(member, invited)))
    member.get("/account")
    changed = member.form("/account/password", current_password=member.password, new_password=canaries.new_password)
    assert changed.status == 200, changed.body
    member.form("/logout")
    member.password = canaries.new_password
    _be_opened(server, made, member, "the session by JSON", member.log_in)
    for path in ("/account", "/api/internal/session", "/api/internal/sessions", "/api/internal/users"):
        assert admin.get(path).status == 200
        member.get(path)
    admin.get(f"/api/internal/users/{canaries.wrong_key}")
    admin.get(f"/setup?token={canaries.wrong_key}")


def _person(person: Browser, token: str) -> dict[str, str]:
    return {"token": token, "email": person.email, "name": "Somebody", "password": person.password}


def _be_shown(server: Watched, person: Browser, token: str, what: str) -> None:
    """The form of a link has the link's token in it; also when it comes again because something was wrong."""
    server.telling = f"telling {what}"
    assert person.get(f"/setup?token={quote(token)}").status == 200
    assert person.form("/setup", **{**_person(person, token), "email": "none"}).status == 400
    server.telling = "answer"


def _be_opened(server: Watched, made: dict[str, tuple[str, set[str]]], person: Browser, name: str, way: Any) -> None:
    """Sign in by some way, whose answer sets the cookie."""
    server.telling = f"telling {name}"
    answer = way()
    assert answer.status in (200, 303), answer.body
    (token,) = person.cookies.values()
    made[name] = (token, {server.telling})
    server.telling = "answer"


def _read_pages(server: Watched, key: str) -> None:
    """What is open to everybody, by a client that sends its key everywhere."""
    for path, status in (
        ("/metrics", 200), ("/openapi.json", 200), ("/docs", 200), ("/ready", 200),
        ("/docs/api.md", 200), ("/docs?q=key", 200), ("/docs/reference/createKeys", 200), ("/llms-full.txt", 200),
        ("/health", 200), ("/login", 200), ("/setup", 404), ("/account", 303),
        ("/", 200), ("/search.json", 200), ("/assets/nothing", 404),
        ("/api/v1/models", 200), ("/api/v1/models?limit=x", 400), ("/api/v1/keys", 403), (EMBEDDINGS, 405),
    ):  # fmt: skip
        server.telling = "page" if status == 200 else "answer"
        assert server.request("GET", path, key=key).status == status, path
    server.telling = "answer"


def _command(commands: Commands, canaries: Canaries, made: dict[str, tuple[str, set[str]]], evidence: Evidence) -> None:
    """Every command that comes near a secret."""

    def run(name: str, *arguments: str, typed: str | None = None, status: int = 0) -> Done:
        done = commands(*arguments, typed=typed)
        assert done.status == status, (arguments, done)
        evidence.add(name, done.stdout + done.stderr)
        return done

    secret = run("telling command keys create", "keys", "create", "--name", "typed").stdout.strip()
    made["the command's key"] = (secret, {"telling command keys create"})
    hash_ = commands.json("keys", "list")[0]["hash"]
    url = run("telling command users link", "users", "link").stdout
    made["the command's link"] = (url.strip().partition("token=")[2], {"telling command users link"})
    password = canaries.typed_password
    user = ("users", "create", "typed@example.org", "--password-stdin")
    run("command", *user, typed=f"{password}\n")
    run("command", *user, typed=f"{password}\n", status=2)
    run("command", *user, typed=password * 20, status=2)
    run("command", "users", "password", "typed@example.org", typed=f"{password}\n{password}\n")
    is_sqlite = commands.url.startswith("sqlite")
    for arguments in (
        ("keys", "list"), ("keys", "list", "--json"), ("keys", "show", hash_), ("users", "list", "--json"),
        ("credits", "add", "1", "--reason", "by hand"), ("doctor",), ("doctor", "--json"),
        ("db", "status"), ("db", "status", "--json"), ("db", "migrate"), ("usage",), ("usage", "--json"),
        ("usage", "--csv"), ("usage", "--by", "key"), ("usage", "--by", "app"),
    ):  # fmt: skip
        run("command for reports" if arguments[-1] == "app" else "command", *arguments)
    run("command", "backup", status=0 if is_sqlite else 2)
    # A key in a hash's place, as a person in a hurry types it.
    for key in (secret, secret.removeprefix("sk-er-v1-"), canaries.api_key):
        run("command", "keys", "show", key, status=2)


def _type_a_password(canaries: Canaries, url: str, folder: Path, evidence: Evidence) -> None:
    """In a process of its own, whose arguments are looked at while it waits."""
    command = [str(Path(sys.executable).with_name("embedrouter")), "users", "create", "own@example.org",
               "--password-stdin"]  # fmt: skip
    settings = environment(database_url=url, data_dir=folder, api_key=canaries.api_key)
    with subprocess.Popen(
        command, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        shown = Path(f"/proc/{process.pid}/cmdline")  # empty for a moment
        eventually(lambda: b"own@example.org" in shown.read_bytes())
        evidence.add_arguments()
        told, _ = process.communicate(f"{canaries.typed_password}\n".encode(), timeout=60)
    assert process.returncode == 0, told
    evidence.add("command", told)


# --- what is left


def test_47_the_evidence_is_there(life: Life) -> None:
    """Else the other tests would prove nothing."""
    evidence = life.evidence
    assert b"embeddings" in evidence.places["stderr"], "the access log is off"
    assert b"stopping" in evidence.places["stderr"]
    assert b"embedrouter serves" in evidence.places["stdout"]
    assert evidence.holding("member@example.org", among=("table users",))
    assert evidence.holding("embedrouter\0serve", among=("arguments",))
    assert evidence.holding("users\0create\0own@example.org", among=("arguments",))
    assert len(life.made) == 11
    for word in ("title", "user", "session", "agent", "request", "reason"):
        canary = getattr(life.canaries, word)
        assert evidence.holding(canary, among=("table ",)), f"{word} was never kept"
    if any(name.startswith("file books.db") for name in evidence.places):
        assert {"file books.db while it runs", "file books.db-wal while it runs"} <= set(evidence.places)
        assert any(name.startswith("file backups/") for name in evidence.places)


@pytest.mark.parametrize(
    "name", [name for name in Canaries._fields if name.endswith(("_key", "password", "_credential"))]
)
def test_47_a_secret_that_was_given_is_nowhere(life: Life, name: str) -> None:
    """No key, no password, right or wrong, is in any answer, output, file, row or argument."""
    canary = getattr(life.canaries, name)
    assert life.evidence.holding(canary) == set()


def test_47_a_secret_that_was_made_is_told_once(life: Life) -> None:
    """Keys, links and sessions are in the answer that makes them, and nowhere else."""
    for name, (secret, told) in life.made.items():
        assert len(secret) >= 43, name
        assert {place.partition(" #")[0] for place in life.evidence.holding(secret)} == told, name
        if "key" not in name:  # a key's digest is what the API calls it by; others' are for the tables
            digest = hashlib.sha256(secret.encode()).hexdigest()
            assert life.evidence.holding(digest, among=(*_OUT, "answer", "telling", "page")) == set(), name
    link, _ = life.made["the setup link"]
    assert life.evidence.places["stdout"].count(link.encode()) == 1


def test_47_prompts_are_nowhere_unless_they_are_to_be_kept(life: Life) -> None:
    allowed = {"table generation_contents", "telling of /generation/content"} if life.keeps_prompts else set()
    assert life.evidence.holding(life.canaries.prompt) == allowed


@pytest.mark.parametrize("name", ["title", "user", "session", "agent", "request", "reason"])
def test_47_what_clients_say_of_themselves_is_in_no_log_and_on_no_page(life: Life, name: str) -> None:
    """It is for who may read the books: in the tables, and in the answers about them."""
    canary = getattr(life.canaries, name)
    assert life.evidence.holding(canary, among=(*_OUT, "page", "arguments", "log")) <= {"command for reports"}


def test_47_digests_and_hashes_of_passwords_are_in_the_tables_only(life: Life) -> None:
    allowed = ("table users", "file books.db", "file backups/")
    assert {name for name in life.evidence.holding("$argon2") if not name.startswith(allowed)} == set()
    assert life.evidence.holding("$argon2", among=("table users",))
    assert not [
        name for name in life.evidence.places if re.search(rb"Traceback|unforeseen", life.evidence.places[name])
    ]


# --- starts that fail


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"api_key": "{} "}, "EMBEDROUTER_API_KEY"), ({"api_key": "{}", "management_key": "{}"}, "must differ")],
)
def test_47_a_start_that_fails_tells_no_key(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    canary = _new("start")
    given = {name: value.format(canary) for name, value in settings.items()}
    done = cli("serve", "--port", free_port(), "--data-dir", tmp_path, **given)
    assert done.returncode == 2
    assert told in done.stderr
    assert canary not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('database_url = "postgresql://books:{}@127.0.0.1:{port}/books"', "refused"),
        ('database_url = "mysql://books:{}@127.0.0.1/books"', "database_url must look like"),
        ('database_url = "postgresql://books:{}@127.0.0.1:port/books"', "database_url must look like"),
        ('database_url = ["{}"]', '"database_url"'),
        ('api_key = ["{}"]', '"api_key"'),
        ('management_key = {{secret = "{}"}}', '"management_key"'),
        ('api_key = "{}', "not valid TOML"),
        ("api_key = {}", "not valid TOML"),
        ('public_url = "https://me:{}@embed.example.org"', "public_url"),
        ('public_url = "https://me:{}@embed.example.org@"', "public_url"),
    ],
)
def test_47_a_wrong_line_of_the_configuration_is_told_without_its_secret(tmp_path: Path, line: str, told: str) -> None:
    canary = _new("line")
    config = tmp_path / "config.toml"
    config.write_text(line.format(canary, port=free_port()) + "\n")
    commands = Commands(tmp_path, "")
    refusal = commands("db", "status", "--config", str(config)).refusal()
    assert told in refusal
    assert canary not in refusal
