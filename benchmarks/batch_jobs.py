"""What a large batch does to those who wait for answers, and what becomes of it when the server is killed.

    python benchmarks/batch_jobs.py         100,000 lines: p50 and p99 of requests without and with it, lines/s
    python benchmarks/batch_jobs.py --kill  kill -9 in the middle, three times: every line once, as billed

Requests come at a steady rate, some seconds alone, then while the batch runs, then alone again. The idle rate of the
batch is measured by a second one that nobody disturbs.
"""

import argparse
import asyncio
import http.client
import json
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from client import Load, body, open_loop, prepare, settle
from common import MODEL, announce, machine, model_folder, number, save, table
from servers import EMBEDROUTER, Server, free_port, raise_on_sigterm

_WORDS = "time year people way day man thing woman life child world school state family student group country problem"
_PIECE = 5.0  # seconds of requests between looks at the batch


def texts(count: int, words: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return [f"{' '.join(chosen.choices(_WORDS.split(), k=words))} {place}" for place in range(count)]


class Place:
    """A server that can be killed and started again on the same data."""

    def __init__(self, folder: Path, model: Path, database: str | None) -> None:
        self._folder = folder
        self._environment = {
            "EMBEDROUTER_API_KEY": "sk-er-v1-" + secrets.token_hex(32),
            "EMBEDROUTER_MODEL_DIR": str(model),
            "EMBEDROUTER_OFFLINE": "true",
        }
        if database is not None:
            self._environment["EMBEDROUTER_DATABASE_URL"] = database
        self.database = database or f"sqlite:///{folder / 'data' / 'embedrouter.db'}"

    def start(self) -> Server:
        port = free_port()
        command = [str(EMBEDROUTER), "serve", "--port", str(port), "--data-dir", str(self._folder / "data")]
        return Server("embedrouter", command, port, "/ready", self._folder / f"{port}.log", self._environment)


def call(server: Server, method: str, path: str, sent: bytes | None = None) -> Any:
    host = server.url.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=600)
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    connection.request(method, f"/api/v1{path}", sent, headers)
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    if answer.status >= 300:
        sys.exit(f"{method} {path} answered {answer.status}: {found[:500]!r}")
    return json.loads(found)


def create(server: Server, lines: int, words: int, seed: int) -> str:
    """A batch's id."""
    requests = [{"custom_id": f"{n}", "body": {"input": x}} for n, x in enumerate(texts(lines, words, seed))]
    whole = {"endpoint": "/v1/embeddings", "model": MODEL, "completion_window": "24h", "requests": requests}
    started = time.perf_counter()
    made = call(server, "POST", "/batches", json.dumps(whole).encode())
    print(f"{lines:,} lines taken in {time.perf_counter() - started:.1f} s", flush=True)
    return str(made["id"])


def done(server: Server, batch: str) -> tuple[bool, int]:
    """Whether it has ended, and how many lines are done. From the list, which carries no results."""
    found = next(one for one in call(server, "GET", "/batches?limit=100")["data"] if one["id"] == batch)
    return found["finalized_at"] is not None, found["request_counts"]["completed"]


def wait_for(server: Server, batch: str) -> float:
    """Seconds until it has ended."""
    started = time.perf_counter()
    while not done(server, batch)[0]:
        time.sleep(0.5)
    return time.perf_counter() - started


def requests_for(server: Server, load: Load, rate: float, seconds: float, sent: Iterator[bytes]) -> None:
    found, _ = asyncio.run(open_loop(server.url, sent, rate, seconds, 256, lambda: None))
    for status, latencies in found.latencies.items():
        for one in latencies:
            load.add(status, one)


def beside(options: argparse.Namespace, place: Place) -> dict[str, object]:
    server = place.start()
    with server:
        settle(server.url, server.key)
        bodies = [prepare(server.url, server.key, body(one)) for one in texts(2_000, options.words, 1)]
        sent = cycle(bodies)
        alone, together = Load(), Load()
        requests_for(server, alone, options.rate, options.seconds, sent)
        batch = create(server, options.lines, options.words, 2)
        started, before, finished = time.perf_counter(), 0, False
        while not finished and time.perf_counter() - started < options.limit:
            requests_for(server, together, options.rate, _PIECE, sent)
            finished, before = done(server, batch)
        busy = before / (time.perf_counter() - started)
        rest = options.lines - before
        idle = rest / wait_for(server, batch) if rest else float("nan")
        if not rest:
            second = create(server, min(options.lines, 20_000), options.words, 3)
            idle = min(options.lines, 20_000) / wait_for(server, second)
        requests_for(server, alone, options.rate, options.seconds, sent)
    rows, figures = [], {}
    for name, load in (("alone", alone), ("with the batch", together)):
        p50, p99 = (float(np.percentile(load.latencies[200], q)) for q in (50, 99))
        figures[name] = {"p50_ms": p50, "p99_ms": p99, "statuses": dict(load.statuses)}
        rows.append([name, f"{load.statuses.total():,}", number(p50), number(p99)])
    ratio = [figures["with the batch"][q] / figures["alone"][q] for q in ("p50_ms", "p99_ms")]  # type: ignore[operator]
    rows.append(["ratio", "", *(f"{one:.2f}x" for one in ratio)])
    print(f"\n{table([f'requests, {options.rate:g}/s', 'requests', 'p50, ms', 'p99, ms'], rows)}")
    print(f"\nbatch lines/s: {busy:,.0f} beside the requests, {idle:,.0f} with nobody else")
    return {"latencies": figures, "p50_ratio": ratio[0], "p99_ratio": ratio[1], "busy": busy, "idle": idle}


def kill(options: argparse.Namespace, place: Place) -> dict[str, object]:
    """Ends the run where a line is missing, done twice or billed otherwise."""
    from sqlalchemy import func, select

    from embedrouter.batches.shift import AGENT
    from embedrouter.ledger.doctor import examine
    from embedrouter.store import Database
    from embedrouter.store.batch_tables import batch_lines
    from embedrouter.store.tables import generations

    server = place.start()
    batch = create(server, options.lines, options.words, 4)
    chance = random.Random(options.lines)
    for round_number in range(3):
        wanted = done(server, batch)[1] + chance.randint(1, options.lines // 5)
        while done(server, batch)[1] < wanted:
            time.sleep(0.05)
        server._process.kill()
        server._process.wait()
        server.close()
        print(f"killed after {wanted:,} lines and some (round {round_number + 1})", flush=True)
        server = place.start()
    with server:
        wait_for(server, batch)
        told = call(server, "GET", "/batches?limit=100")["data"][0]["request_counts"]
    database = Database(place.database)
    ours = generations.c.user_agent == AGENT
    with database.read_engine.connect() as connection:
        billed, cost = connection.execute(
            select(func.count(), func.sum(generations.c.cost_pico)).where(ours, generations.c.status == 200)
        ).one()
        mine = batch_lines.c.batch_id == batch
        query = select(func.count(), func.count(batch_lines.c.generation_id.distinct()), func.sum(batch_lines.c.tokens))
        lines, distinct, tokens = connection.execute(query.where(mine, batch_lines.c.status == "done")).one()
        findings = examine(connection).findings
    database.close()
    found = {"counts": told, "lines": lines, "generations": billed, "tokens": tokens, "cost_pico": int(cost)}
    print(f"{found}; the doctor finds {findings or 'nothing'}")
    exact = lines == distinct == billed == options.lines and int(cost) == int(tokens) * 2_500
    if not exact or findings:
        sys.exit("a line is missing, was done twice, or was billed otherwise")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=12, help="of each text")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second beside the batch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of requests alone, before and after")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of requests beside the batch at most")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    parser.add_argument("--database", help="a database URL (default: a fresh SQLite)")
    options = parser.parse_args()
    raise_on_sigterm()
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory(prefix="embedrouter-batches-") as name:
        place = Place(Path(name), options.model or model_folder(), options.database)
        found = kill(options, place) if options.kill else beside(options, place)
    save("batch_jobs", {"machine": facts, "options": {k: str(v) for k, v in vars(options).items()}, **found})


if __name__ == "__main__":
    main()
