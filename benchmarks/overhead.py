"""What the router costs: an instant upstream asked directly, through embedrouter, and through LiteLLM's proxy.

    python benchmarks/overhead.py        closed loop at 10 connections, open loop at half load (some two minutes)

embedrouter runs without the built-in model, with everything on (billing enforced, a key with all limits) and as it is
by default; the ledger is in SQLite. LiteLLM's proxy is left out unless `make -C benchmarks .venv-litellm` was run.
"""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from itertools import cycle
from pathlib import Path

import numpy as np

from accounting import post
from client import ClosedLoop, body, closed_loop, open_loop, prepare
from common import HERE, Spread, announce, machine, number, save, table
from servers import EMBEDROUTER, Server, free_port, raise_on_sigterm

LITELLM = HERE / ".venv-litellm" / "bin" / "litellm"
_MODEL = "test/instant"
_PLENTY = 1_000_000_000


def start_instant(folder: Path) -> Server:
    port = free_port()
    command = [sys.executable, str(HERE / "instant.py"), str(port)]
    server = Server("instant", command, port, "/", folder / "instant.log", {})
    server.url = f"http://127.0.0.1:{port}/v1"
    return server


def start_router(folder: Path, upstream: Server, *, everything: bool) -> Server:
    """everything: billing enforced and a key with all limits; else as it is by default."""
    port = free_port()
    catalog = folder / "catalog.toml"
    catalog.write_text(
        f"""
[[providers]]
slug = "instant"
name = "Instant"
wire = "openai"
base_url = "{upstream.url}"
allow_private = true
needs_credential = false

[[models]]
slug = "{_MODEL}"
name = "Instant"
dimensions = 384
context_length = 8192

[[endpoints]]
model = "{_MODEL}"
provider = "instant"
upstream_model = "instant"
price_per_million = "0.01"
"""
    )
    management = "sk-er-v1-" + secrets.token_hex(32)
    environment = {
        "EMBEDROUTER_BUILTIN": "false",
        "EMBEDROUTER_CATALOG": str(catalog),
        "EMBEDROUTER_BILLING": "enforce" if everything else "track",
        "EMBEDROUTER_MANAGEMENT_KEY": management,
    }
    name = "embedrouter, everything on" if everything else "embedrouter, default"
    data = folder / f"data-{port}"
    data.mkdir()
    command = [str(EMBEDROUTER), "serve", "--port", str(port), "--data-dir", str(data)]
    server = Server(name, command, port, "/ready", data / "log", environment)
    post(server, management, "/credits", {"amount": 100_000, "kind": "top_up", "reason": "benchmark"})
    limits = {"limit": 1000, "requests_per_minute": _PLENTY, "tokens_per_minute": _PLENTY, "max_concurrent": 10_000}
    wanted = {"name": "benchmark", **({"limit_reset": "daily", **limits} if everything else {})}
    server.key = str(post(server, management, "/keys", wanted)["key"])
    return server


def start_litellm(folder: Path, upstream: Server) -> Server | None:
    if not LITELLM.exists():
        print(f"{LITELLM} is not there: LiteLLM is left out", flush=True)
        return None
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        f"""
model_list:
  - model_name: {_MODEL}
    litellm_params: {{model: openai/instant, api_base: "{upstream.url}", api_key: none}}
general_settings: {{master_key: sk-benchmark}}
litellm_settings: {{telemetry: false}}
"""
    )
    command = [str(LITELLM), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    server = Server("LiteLLM", command, port, "/health/liveliness", folder / "litellm.log", environment)
    server.url = f"http://127.0.0.1:{port}/v1"
    server.key = "sk-benchmark"
    return server


def half_load(server: Server, payload: bytes, rate: float, seconds: float) -> tuple[float, float]:
    """p50 and p99 in ms of requests sent on time."""
    requests = cycle([prepare(server.url, server.key, payload)])
    load, _ = asyncio.run(open_loop(server.url, requests, rate, seconds, 256, lambda: None))
    failed = load.statuses.total() - load.statuses[200]
    if failed or load.unsent:
        print(f"warning: {server.name}: {failed} failed, {load.unsent} not sent")
    p50, p99 = (float(np.percentile(load.latencies[200], q)) for q in (50, 99))
    return p50, p99


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    upstream = start_instant(folder)
    servers = [upstream]
    results: dict[str, object] = {}
    rows = []
    try:
        servers += [start_router(folder, upstream, everything=everything) for everything in (True, False)]
        peer = start_litellm(folder, upstream)
        if peer is not None:
            servers.append(peer)
        payload = body("how long does one request take").replace(
            b"sentence-transformers/all-minilm-l6-v2", _MODEL.encode()
        )
        bodies = folder / "bodies.jsonl"
        bodies.write_bytes(payload + b"\n")
        closed: dict[str, list[ClosedLoop]] = {server.name: [] for server in servers}
        halves: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
        for server in servers[1:]:
            server.pause()
        for number_of_round in range(options.rounds + 1):
            for server in servers:
                if server is not upstream:
                    server.resume()
                found = closed_loop(
                    server.url, server.key, bodies, 10, 1.0 if number_of_round == 0 else options.seconds
                )
                if number_of_round and found.failed:
                    print(f"warning: {found.failed} requests to {server.name} failed")
                if number_of_round:
                    closed[server.name].append(found)
                    rate = found.requests_per_second / 2
                    halves[server.name].append(half_load(server, payload, rate, options.seconds))
                    # The same rate without anybody in between: what is left is the router's.
                    halves.setdefault(f"{server.name}, direct", []).append(
                        half_load(upstream, payload, rate, options.seconds)
                    )
                if server is not upstream:
                    server.pause()
        for server in servers:
            server.resume()
            served = Spread.of([one.requests_per_second for one in closed[server.name]])
            own, direct = halves[server.name], halves[f"{server.name}, direct"]
            later = [Spread.of([a[i] - b[i] for a, b in zip(own, direct, strict=True)]) for i in (0, 1)]
            rows.append(
                [server.name, str(served), str(Spread.of([one.p50 for one in closed[server.name]])),
                 str(Spread.of([one.p99 for one in closed[server.name]])), str(later[0]), str(later[1]),
                 number(server.rss_mib()), f"{server.cold_start_s:.1f}"]
            )  # fmt: skip
            results[server.name] = {"requests_per_second": served, "p50_later_ms": later[0], "p99_later_ms": later[1],
                                    "rss_mib": server.rss_mib(), "cold_start_s": server.cold_start_s}  # fmt: skip
    finally:
        for server in servers:
            server.resume()
            server.close()
    heads = [
        "server",
        "requests/s at 10",
        "p50, ms",
        "p99, ms",
        "p50 later at half load, ms",
        "p99 later, ms",
        "MiB",
        "start, s",
    ]
    print(f"\n{table(heads, rows)}")
    if peer is not None:
        ratios = [a.requests_per_second / b.requests_per_second
                  for a, b in zip(closed[servers[1].name], closed["LiteLLM"], strict=True)]  # fmt: skip
        results["ratio"] = Spread.of(ratios)
        print(f"embedrouter with everything on serves {Spread.of(ratios)} times LiteLLM's requests a second")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round")
    options = parser.parse_args()
    raise_on_sigterm()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory() as name:
        found = measure(options, Path(name))
    save("overhead", {"machine": facts, "options": vars(options), **found})


if __name__ == "__main__":
    main()
