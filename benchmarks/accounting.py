"""What the ledger costs: the same server with everything on, as by default, and with the ledger taken out.

    python benchmarks/accounting.py           requests/s, p50, p99 of single texts          (some four minutes)
    python benchmarks/accounting.py writer    generations/s that the writer alone writes

Everything on: billing enforced, a key with a USD limit, requests and tokens a minute and a concurrency limit. Rounds
alternate between the servers; who is not measured is stopped. `--database postgresql://...` takes a database of yours.
"""

import argparse
import json
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import texts
from client import ClosedLoop, body, closed_loop, settle
from common import HERE, Spread, announce, machine, model_folder, number, save, table
from embedrouter.accounts import first
from embedrouter.accounts.first import WORKSPACE
from embedrouter.ledger import doctor, generations
from embedrouter.ledger.attempts import Attempt, attempts_json
from embedrouter.ledger.book import now
from embedrouter.ledger.credits import ACCOUNT
from embedrouter.ledger.generations import Generation, Settlement
from embedrouter.ledger.payer import Payer
from embedrouter.store import Database, Writer
from embedrouter.store.migrate import migrate
from servers import EMBEDROUTER, Server, raise_on_sigterm, start_embedrouter

OFF, DEFAULT, ON = "ledger taken out", "default", "everything on"
_PLENTY = 1_000_000_000


def post(server: Server, key: str, path: str, fields: Mapping[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        server.url + path,
        json.dumps(fields).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def start(name: str, folder: Path, model: Path, database: str | None) -> Server:
    """One of the three servers, with the key that its requests are to use."""
    settings = {"database_url": database} if database else {}
    if name == OFF:
        program = folder / "without-ledger"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "without_ledger.py"}" "$@"\n')
        program.chmod(0o755)
        server = start_embedrouter(folder, model, program=program, settings=settings)
    elif name == DEFAULT:
        server = start_embedrouter(folder, model, program=EMBEDROUTER, settings=settings)
    else:
        management = "sk-er-v1-" + secrets.token_hex(32)
        settings |= {"billing": "enforce", "management_key": management}
        server = start_embedrouter(folder, model, program=EMBEDROUTER, settings=settings)
        post(server, management, "/credits", {"amount": 100_000, "kind": "top_up", "reason": "benchmark"})
        limits = {"limit": 1000, "requests_per_minute": _PLENTY, "tokens_per_minute": _PLENTY, "max_concurrent": 10_000}
        made = post(server, management, "/keys", {"name": "benchmark", "limit_reset": "daily", **limits})
        server.key = str(made["key"])
    server.name = name
    return server


def measure(server: Server, bodies: Path, connections: int, seconds: float) -> ClosedLoop:
    server.resume()
    settle(server.url, server.key)
    found = closed_loop(server.url, server.key, bodies, connections, seconds)
    if found.failed:
        print(f"warning: {found.failed} requests to the server with {server.name} failed")
    server.pause()
    return found


def serving(options: argparse.Namespace, folder: Path, model: Path) -> dict[str, object]:
    bodies = folder / "single.jsonl"
    bodies.write_bytes(b"\n".join(body(one) for one in texts.short_questions(options.data)) + b"\n")
    servers: list[Server] = []
    rows = []
    results: list[dict[str, object]] = []
    try:
        for name in (OFF, DEFAULT, ON):
            servers.append(start(name, folder, model, options.database))
            measure(servers[-1], bodies, 8, 1.0)
        for connections in options.connections:
            taken: dict[str, list[ClosedLoop]] = {server.name: [] for server in servers}
            for _ in range(options.rounds):
                for server in servers:
                    taken[server.name].append(measure(server, bodies, connections, options.seconds))
            for name, rounds in taken.items():
                pairs = list(zip(rounds, taken[OFF], strict=True))
                share = Spread.of([own.requests_per_second / off.requests_per_second for own, off in pairs])
                later = Spread.of([own.p99 - off.p99 for own, off in pairs])
                rate = Spread.of([one.requests_per_second for one in rounds])
                p50, p99 = Spread.of([one.p50 for one in rounds]), Spread.of([one.p99 for one in rounds])
                rows.append([f"{connections}, {name}", str(rate), str(p50), str(p99)])
                rows[-1] += [f"{share.median:.0%} ({share.minimum:.0%}-{share.maximum:.0%})", f"{later.median:+.2f}"]
                results.append(
                    {"connections": connections, "server": name, "requests_per_second": rate, "p50_ms": p50,
                     "p99_ms": p99, "share_of_off": share, "p99_later_ms": later}
                )  # fmt: skip
                print(*rows[-1], sep="  ", flush=True)
    finally:
        for server in servers:
            server.close()
    heads = ["connections, server", "requests/s", "p50, ms", "p99, ms", "share of taken out", "p99 later, ms"]
    print(f"\n{table(heads, rows)}")
    return {"cases": results}


def writer(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Settlements handed to the writer as fast as it takes them; then the doctor looks."""
    rates = []
    for round_number in range(options.rounds):
        database = Database(options.database or f"sqlite:///{folder / f'{round_number}.db'}")
        migrate(database)
        own = Writer(database)
        first.prepare(own, first.Wanted(None, None, False, folder))
        payer = Payer(1, WORKSPACE, ACCOUNT)
        todo = [Settlement(_generation(f"gen-{round_number}-{index}"), payer) for index in range(options.generations)]
        started = time.perf_counter()
        for future in [own.submit(generations.settle, one) for one in todo]:
            future.result()
        rates.append(options.generations / (time.perf_counter() - started))
        own.close()
        findings = database.read_now(doctor.examine).findings
        database.close()
        print(f"{number(rates[-1])} generations/s; the doctor finds {findings or 'nothing'}", flush=True)
    found = Spread.of(rates)
    print(f"\n{options.generations:,} generations, written by the writer alone: {found} a second")
    return {"generations_per_second": found}


def _generation(generation_id: str) -> Generation:
    attempt = Attempt("Builtin", "builtin/bf16", "sentence-transformers/all-minilm-l6-v2-20251117", 200, 1500)
    return Generation(
        id=generation_id, created_at=now(), key_id=1, workspace_id=WORKSPACE, owner_id=None, app_id=0, public=True,
        api_type="embeddings", model="sentence-transformers/all-minilm-l6-v2", model_permaslug=attempt.model_permaslug,
        endpoint=attempt.endpoint, provider_name="Builtin", status=200, error_type=None, cancelled=False, inputs=1,
        prompt_tokens=12, cost_pico=60_000, is_byok=False, latency_us=1800, generation_us=1500,
        attempts=attempts_json([attempt]), origin="", http_referer=None, user_agent="OpenAI/Python 3.54.0",
        external_user=None, session_id=None, request_id=None, cache_source_id=None,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    texts.add_data_argument(parser)
    parser.add_argument("mode", nargs="?", choices=["serving", "writer"], default="serving")
    parser.add_argument("--database", help="an empty PostgreSQL database (default: SQLite in a temporary folder)")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--generations", type=int, default=30_000, help="for the writer")
    options = parser.parse_args()
    raise_on_sigterm()
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.mode == "writer":
            found = writer(options, folder)
        else:
            found = serving(options, folder, options.model or model_folder())
    chosen = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    save(f"accounting-{options.mode}", {"machine": facts, "options": chosen, **found})


if __name__ == "__main__":
    main()
