"""A real PostgreSQL for tests: a throw-away server on a free port of 127.0.0.1, which any local user may enter.

The fixtures are in conftest.py. The binaries are the system's, else those in the `pgserver` wheel, which is never
imported. TEST_POSTGRES=system and TEST_POSTGRES=wheel take only one of them.
"""

import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from server import PATIENCE, eventually

_USER = "postgres"  # the superuser
_TAIL = 4_000  # characters of the log that an error shows
_WANTED = (
    "install PostgreSQL 13 or newer (Debian, Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server), "
    "or the wheel pgserver (pip install pgserver; x86-64, Python 3.12 or older)"
)
# fsync stays on: what is committed must outlive `kill`. Nothing is left in /dev/shm when it is killed.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
}


class PostgresError(Exception):
    """There is no PostgreSQL here, or it does not start."""


@dataclass
class PostgresServer:
    """A PostgreSQL cluster. `postgresql` makes one; it may be stopped, killed and started any number of times."""

    binaries: Path
    folder: Path  # its data and its log
    port: int
    account: Mapping[str, Any]  # whom it runs as: further arguments of Popen
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        """All it has logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    def initialise(self) -> None:
        """Make the data folder. Raises PostgresError with what initdb said."""
        what = ("--auth=trust", f"--username={_USER}", "--locale=C", "--encoding=UTF8", "--no-sync")
        process = self._popen("initdb", "--pgdata", self.data_dir, *what)
        try:
            status = process.wait(PATIENCE)
        finally:
            process.kill()
        if status != 0:
            raise self._error(f"initdb failed: exit status {status}")

    def start(self) -> None:
        """Start it and wait until it answers; nothing if it runs. Raises PostgresError with its log's tail."""
        if self.running:
            return
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": self.port}.items()]
        process = self._process = self._popen("postgres", "-D", self.data_dir, *settings)

        def is_ready() -> bool:
            if process.poll() is not None:
                raise self._error(f"PostgreSQL did not start: exit status {process.returncode}")
            try:
                self._connect().close()
            except psycopg.OperationalError:
                return False
            return True

        try:
            eventually(is_ready)
        except AssertionError as error:
            raise self._error(f"PostgreSQL did not start: {error}") from None

    def stop(self) -> None:
        """A fast shutdown: ends every session, rolls open transactions back, and waits until it is down."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._error("PostgreSQL did not stop") from None

    def kill(self) -> None:
        """A crash: SIGKILL to the postmaster and to each of its processes; waits until all are gone."""
        if self._process is None or not self.running:
            return
        # Each process has a session of its own, so no process group holds them. Stopped, the postmaster starts no more.
        postmaster = self._process.pid
        self._process.send_signal(signal.SIGSTOP)
        eventually(lambda: _processes().get(postmaster, ("T", 0))[0] in "TZ")
        children = {pid for pid, (_, parent) in _processes().items() if parent == postmaster}
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(PATIENCE)
        eventually(lambda: not children & {pid for pid, (state, _) in _processes().items() if state != "Z"})

    def restart(self) -> None:
        """Stop and start, on the same port with the same databases."""
        self.stop()
        self.start()

    def create_database(self) -> str:
        """The URL of a fresh, empty database. Starts the server if a test has left it down."""
        name = f"test_{secrets.token_hex(8)}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop the database and end its sessions; nothing if it is gone. Starts the server if a test left it down."""
        name = make_url(url).database
        assert name is not None
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        self.start()
        with self._connect() as connection:
            connection.execute(statement)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=_USER, dbname="postgres", autocommit=True, connect_timeout=10
        )

    def _popen(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self.binaries / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for pytest, which then stops it
                **self.account,
            )

    def _error(self, message: str) -> PostgresError:
        return PostgresError(f"{message}. The end of its log:\n{self.log()[-_TAIL:]}")


@contextlib.contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """A running server, stopped and removed at the end. Raises PostgresError, which says what to install."""
    account = _account()
    # Not in pytest's folder, nor in TMPDIR: another user may not enter those.
    folder = Path(tempfile.mkdtemp(prefix="embedrouter-postgres-", dir="/tmp"))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        server = PostgresServer(_binaries(folder, account), folder, _free_port(), account)
        try:
            server.initialise()
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then somebody else's ids, as arguments of Popen."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise PostgresError("PostgreSQL does not run as root, and there is no user postgres or nobody: add one")


def _binaries(folder: Path, account: Mapping[str, Any]) -> Path:
    """The folder of binaries to use. Those of the wheel are copied into `folder` if the account cannot read them."""
    wanted = os.environ.get("TEST_POSTGRES", "")
    if wanted not in {"", "system", "wheel"}:
        raise PostgresError(f"TEST_POSTGRES is {wanted!r}; it can be system or wheel")
    if wanted != "wheel":
        for found in _of_system():
            if _runs(found, account):
                return found
    if wanted != "system" and (package := _wheel()) is not None:
        if _runs(package / "pginstall" / "bin", account):
            return package / "pginstall" / "bin"
        copied = _copy(package, folder / "wheel", account)
        if _runs(copied, account):
            return copied
    raise PostgresError(f"no PostgreSQL that runs here (TEST_POSTGRES={wanted!r}): {_WANTED}")


def _of_system() -> Iterator[Path]:
    """Where the system may have them, best first: on PATH, then Debian's folders, newest first."""
    if (found := shutil.which("pg_ctl")) is not None:
        yield Path(found).resolve().parent
    versions = {int(x.parent.name): x for x in Path("/usr/lib/postgresql").glob("*/bin") if x.parent.name.isdecimal()}
    for version in sorted(versions, reverse=True):
        yield versions[version]


def _wheel() -> Path | None:
    """The package's folder. It is not imported: that would start more than is needed."""
    spec = importlib.util.find_spec("pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _copy(package: Path, target: Path, account: Mapping[str, Any]) -> Path:
    """Copy the wheel's binaries, and its libraries to where the binaries look for them: ../../../pgserver.libs."""
    shutil.copytree(package / "pginstall", target / "pgserver" / "pginstall", ignore=shutil.ignore_patterns("include"))
    shutil.copytree(package.parent / "pgserver.libs", target / "pgserver.libs")
    if account:
        for path in (target, *target.rglob("*")):
            os.chown(path, account["user"], account["group"])
    return target / "pgserver" / "pginstall" / "bin"


def _runs(binaries: Path, account: Mapping[str, Any]) -> bool:
    """Whether the account can run them: they are there, readable, and find their libraries."""
    for program in ("initdb", "postgres"):
        command = [str(binaries / program), "--version"]
        try:
            subprocess.run(command, cwd="/", env=_environment(), capture_output=True, check=True, **account)
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def _environment() -> dict[str, str]:
    """Nothing of this process's but PATH: no preloaded sanitizer, no locale, no settings of libpq's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    """A port below those that the system gives to clients, so that none of them takes it while the server is down."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _processes() -> dict[int, tuple[str, int]]:
    """Every process's state and its parent, by its id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, parent = re.findall(r"\) (\S) (\d+) [^)]*$", path.read_text())[0]
            found[int(path.parent.name)] = (state, int(parent))
    return found
