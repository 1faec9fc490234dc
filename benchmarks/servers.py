"""Servers as the benchmarks start them: a process group each, timed until ready, paused while another is measured."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from common import INFINITY, MODEL, PEER_ENVIRONMENT, need, pause, resume, stop

START_LIMIT_S = 180.0
EMBEDROUTER = Path(sys.executable).parent / "embedrouter"


class Server:
    """A server process. A context manager; leaving it ends the server."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, ready_path: str, log: Path, environment: Mapping[str, str]
    ) -> None:
        """Start and wait until `ready_path` answers 200; `cold_start_s` says how long that took."""
        self.name = name
        self.key = environment.get("EMBEDROUTER_API_KEY", "")
        self.url = f"http://127.0.0.1:{port}/api/v1"
        self.log = log
        started = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True, env={**os.environ, **environment}
            )
        try:
            self._wait(f"http://127.0.0.1:{port}{ready_path}")
        except BaseException:
            self.close()
            raise
        self.cold_start_s = time.perf_counter() - started
        self.rss_at_start_mib = self.rss_mib()

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            self.require_alive()
            if time.monotonic() > deadline:
                sys.exit(f"{self.name} was not ready in {START_LIMIT_S:.0f} s; its log is {self.log}")
            time.sleep(0.01)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def rss_mib(self) -> float:
        """Resident memory of all its processes, in MiB; pages they share are counted once each."""
        pages = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if int(fields[3]) == self._process.pid:  # the session
                pages += int(fields[21])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def require_alive(self) -> None:
        """End the run with the end of the server's log if it is gone."""
        if not self.alive:
            tail = self.log.read_text(errors="replace")[-4000:]
            sys.exit(f"{self.name} ended with status {self._process.poll()}:\n{tail}")

    def pause(self) -> None:
        pause(self._process)

    def resume(self) -> None:
        self.require_alive()
        resume(self._process)

    def close(self) -> None:
        stop(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_embedrouter(
    folder: Path, model: Path, *, program: Path = EMBEDROUTER, settings: Mapping[str, str] | None = None
) -> Server:
    """`embedrouter serve` with fresh state in `folder`. settings: more of its variables, without their prefix."""
    port = free_port()
    data = folder / f"embedrouter-{port}"
    data.mkdir()
    environment = {
        "EMBEDROUTER_API_KEY": "sk-er-v1-" + secrets.token_hex(32),
        "EMBEDROUTER_MODEL_DIR": str(model),
        "EMBEDROUTER_OFFLINE": "true",
        **{f"EMBEDROUTER_{name.upper()}": value for name, value in (settings or {}).items()},
    }
    command = [str(need(program)), "serve", "--port", str(port), "--data-dir", str(data)]
    return Server("embedrouter", command, port, "/ready", data.with_suffix(".log"), environment)


def start_infinity(folder: Path, model: Path, *, program: Path = INFINITY) -> Server:
    """The peer with its torch engine in fp32, without an access log, which would only slow it down."""
    port = free_port()
    command = [str(need(program)), "v2", "--model-id", str(model), "--served-model-name", MODEL]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"]
    command += ["--url-prefix", "/api/v1", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    return Server("infinity", command, port, "/health", folder / f"infinity-{port}.log", PEER_ENVIRONMENT)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def raise_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that servers are ended when the benchmark is."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
