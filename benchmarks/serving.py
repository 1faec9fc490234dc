"""The server under load, beside infinity (torch, fp32, CPU) started in the same run.

    python benchmarks/serving.py             requests/s, p50, p99; cold start; memory      (some eight minutes)
    python benchmarks/serving.py overload    ten times what it can do for 20 s, then recovery

Speed is a closed loop: every connection sends its next request when it has its answer. Single requests carry one
question, batches 32. Rounds alternate between the two servers; whoever is not measured is stopped.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import texts
from client import WRK, ClosedLoop, Load, body, closed_loop, embed, open_loop, prepare, seconds_of_one, settle
from common import INFINITY, Spread, announce, machine, model_folder, number, save, table
from servers import EMBEDROUTER, Server, raise_on_sigterm, start_embedrouter, start_infinity

CONNECTIONS = (1, 8, 64, 256)
BATCH = 32
SAME = 0.999  # cosine below which two servers do not serve the same model


class Case(NamedTuple):
    kind: str  # single or batch
    encoding: str  # float or base64
    connections: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.encoding}, {self.connections}"

    @property
    def beside_peer(self) -> bool:
        """Whether the peer is measured too when not everything is."""
        return self.encoding == "float" and self in {
            Case("single", "float", 1),
            Case("single", "float", 64),
            Case("batch", "float", 64),
        }


CASES = tuple(itertools.starmap(Case, itertools.product(("single", "batch"), ("float", "base64"), CONNECTIONS)))


def own_settings(options: argparse.Namespace) -> dict[str, str]:
    """embedrouter's settings by name."""
    return {"precision": options.precision, **dict(one.split("=", 1) for one in options.set)}


# --- speed


def write_bodies(folder: Path, data: Path) -> dict[tuple[str, str], Path]:
    """One file of request bodies for each kind and encoding. No text comes twice before all were sent."""
    questions = texts.short_questions(data)
    batches = [questions[i : i + BATCH] for i in range(0, len(questions) - BATCH + 1, BATCH)]
    paths = {}
    for encoding in ("float", "base64"):
        for kind, bodies in (
            ("single", [body(one, encoding) for one in questions]),
            ("batch", [body(one, encoding) for one in batches]),
        ):
            path = folder / f"{kind}-{encoding}.jsonl"
            path.write_bytes(b"\n".join(bodies) + b"\n")
            paths[kind, encoding] = path
    return paths


def check(servers: Sequence[Server], data: Path) -> dict[str, float]:
    """The lowest cosine between what the servers answer to the same real texts. Ends the run if it is too low."""
    several = [text for name in texts.FILES for text, tokens in texts.load(name, data)[:40] if tokens <= 256][:160]
    found: dict[str, float] = {}
    reference = embed(servers[-1].url, servers[-1].key, several, encoding="float")
    for server in servers:
        for encoding in ("float", "base64"):
            vectors = embed(server.url, server.key, several, encoding=encoding)
            lowest = float((vectors * reference).sum(1).min())
            found[f"{server.name} {encoding} with {servers[-1].name} float"] = lowest
            if lowest < SAME:
                raise SystemExit(f"{server.name} ({encoding}) differs from {servers[-1].name}: cosine {lowest:.4f}")
    return found


def measure(server: Server, case: Case, bodies: Path, seconds: float, expected_rate: float) -> ClosedLoop:
    """One round. It lasts at least as long as two answers take when every connection waits its turn."""
    server.resume()
    settle(server.url, server.key)
    long_enough = min(60.0, max(seconds, 2 * case.connections / max(expected_rate, 0.1)))
    found = closed_loop(server.url, server.key, bodies, case.connections, long_enough)
    if found.failed:
        print(f"warning: {found.failed} requests to {server.name} failed ({case})")
    server.pause()
    return found


def speed(options: argparse.Namespace, folder: Path, model: Path) -> dict[str, object]:
    settings = own_settings(options)
    cold: dict[str, list[float]] = {}
    for _ in range(options.cold_starts - 1):
        with start_embedrouter(folder, model, program=options.embedrouter, settings=settings) as extra:
            cold.setdefault(extra.name, []).append(extra.cold_start_s)
    servers = []
    try:
        if not options.no_embedrouter:
            servers.append(start_embedrouter(folder, model, program=options.embedrouter, settings=settings))
        if not options.no_peer:
            for server in servers:
                server.pause()
            servers.append(start_infinity(folder, model, program=options.infinity))
            for server in servers:
                server.resume()
        time.sleep(0.2)
        for server in servers:
            server.require_alive()
            cold.setdefault(server.name, []).append(server.cold_start_s)
        agreement = check(servers, options.data)
        for server in servers:
            server.pause()
        cases = closed_loops(options, servers, write_bodies(folder, options.data))
        ends = [(s.name, Spread.of(cold[s.name]), s.rss_at_start_mib, s.rss_mib()) for s in servers]
    finally:
        for server in servers:
            server.close()
    print()
    rows = [[name, str(seconds), number(before), number(after)] for name, seconds, before, after in ends]
    print(table(["server", "cold start, s", "MiB when ready", "MiB after the load"], rows))
    print()
    for name, lowest in agreement.items():
        print(f"lowest cosine, {name}: {lowest:.6f}")
    memory = {name: {"when ready": before, "after the load": after} for name, _, before, after in ends}
    return {"cases": cases, "cold_start_seconds": cold, "memory_mib": memory, "agreement": agreement}


def closed_loops(
    options: argparse.Namespace, servers: Sequence[Server], bodies: dict[tuple[str, str], Path]
) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    rows = []
    rates: dict[tuple[str, str], float] = {}  # of a server and kind: how fast it was last
    for case in CASES:
        if case.connections not in options.connections:
            continue
        taking_part = [s for s in servers if s.name != "infinity" or options.full or case.beside_peer]
        taken: dict[str, list[ClosedLoop]] = {server.name: [] for server in taking_part}
        for server in taking_part:  # warm: the first requests of a kind are slower than the rest
            warm = measure(server, case._replace(connections=1), bodies[case.kind, case.encoding], 1.0, 100.0)
            rates[server.name, case.kind] = max(warm.requests_per_second, rates.get((server.name, case.kind), 0.0))
        for _ in range(options.rounds):
            for server in taking_part:
                rate = rates[server.name, case.kind]
                taken[server.name].append(
                    measure(server, case, bodies[case.kind, case.encoding], options.seconds, rate)
                )
        rates |= {(name, case.kind): rounds[-1].requests_per_second for name, rounds in taken.items()}
        figures = {name: summary(rounds, taken.get("infinity")) for name, rounds in taken.items()}
        results.append({**case._asdict(), "servers": figures})
        for name, found in figures.items():
            rows.append([str(case), name, *(str(found[key]) for key in ("requests_per_second", "p50_ms", "p99_ms"))])
            ratio = found.get("ratio_to_infinity")
            rows[-1].append(f"{number(ratio.median)}x" if isinstance(ratio, Spread) else "")
            print(*rows[-1], sep="  ", flush=True)
    print()
    print(table(["kind, encoding, connections", "server", "requests/s", "p50, ms", "p99, ms", "ratio"], rows))
    return results


def summary(rounds: Sequence[ClosedLoop], peer: Sequence[ClosedLoop] | None) -> dict[str, object]:
    found: dict[str, object] = {
        "requests_per_second": Spread.of([one.requests_per_second for one in rounds]),
        "p50_ms": Spread.of([one.p50 for one in rounds]),
        "p99_ms": Spread.of([one.p99 for one in rounds]),
        "failed": sum(one.failed for one in rounds),
    }
    if peer is not None and all(one.requests_per_second for one in peer):
        pairs = zip(rounds, peer, strict=True)
        found["ratio_to_infinity"] = Spread.of([a.requests_per_second / b.requests_per_second for a, b in pairs])
    return found


# --- overload


def unique_requests(server: Server, data: Path) -> Iterator[bytes]:
    """Batches of sentences without end, each text numbered, so that none is ever in flight twice."""
    sentences = texts.sample("sentences", 100 * BATCH, data)
    templates = [
        prepare(server.url, server.key, body([f"@@@@@@@@ {one}" for one in sentences[i : i + BATCH]]))
        for i in range(0, len(sentences), BATCH)
    ]
    for count, template in enumerate(itertools.cycle(templates)):
        yield template.replace(b"@@@@@@@@", b"%08d" % count)


async def watch_memory(server: Server, samples: list[tuple[float, float]]) -> None:
    started = time.perf_counter()
    while True:
        samples.append((round(time.perf_counter() - started, 1), round(server.rss_mib(), 1)))
        await asyncio.sleep(0.5)


async def watch_recovery(server: Server, probes: list[tuple[float, float]], load_ended: asyncio.Event) -> None:
    """Single requests from the moment the load ends: (seconds since then, latency in ms)."""
    await load_ended.wait()
    started = time.perf_counter()
    while True:
        probes.append((time.perf_counter() - started, 0.0))
        latency = await asyncio.to_thread(seconds_of_one, server.url, server.key)
        probes[-1] = (probes[-1][0], latency * 1e3)
        await asyncio.sleep(0.1)


async def overload(options: argparse.Namespace, server: Server, bodies: Path) -> dict[str, object]:
    url, key = server.url, server.key
    await asyncio.to_thread(settle, url, key)
    quiet = [await asyncio.to_thread(seconds_of_one, url, key) for _ in range(20)]
    quiet_ms = float(np.median(quiet)) * 1e3
    found = await asyncio.to_thread(closed_loop, url, key, bodies, 16, 6.0)
    await asyncio.to_thread(settle, url, key)
    capacity = found.requests_per_second
    rate = capacity * options.times
    print(f"capacity {number(capacity)} batches/s; now {number(rate)} batches/s for {options.overload_seconds:.0f} s")

    memory: list[tuple[float, float]] = []
    probes: list[tuple[float, float]] = []
    ended = asyncio.Event()
    watchers = [
        asyncio.create_task(watch_memory(server, memory)),
        asyncio.create_task(watch_recovery(server, probes, ended)),
    ]
    load, bare = await open_loop(
        url, unique_requests(server, options.data), rate, options.overload_seconds, options.limit, ended.set
    )
    drained_after = probes[-1][0] if probes else 0.0
    for watcher in watchers:
        watcher.cancel()
    await asyncio.gather(*watchers, return_exceptions=True)
    answered = [probe for probe in probes if probe[1]]
    after = [await asyncio.to_thread(seconds_of_one, url, key) for _ in range(20)]
    return {
        "capacity_per_second": capacity,
        "offered_per_second": (load.statuses.total() + load.unsent) / load.seconds,
        "sent_per_second": load.statuses.total() / load.seconds,
        "unsent": load.unsent,
        "statuses": dict(load.statuses),
        "latency_ms": {status: percentiles(load, status) for status in load.statuses},
        "refusals_without_retry_after": bare,
        "alive": server.alive,
        "single_request_ms": {
            "before": quiet_ms,
            "first after the load": answered[0][1] if answered else None,
            "worst while the queue drains": max((ms for _, ms in answered), default=None),
            "drained": float(np.median(after)) * 1e3,
        },
        "seconds_to_drain": drained_after,
        "memory_mib": {
            "at start": server.rss_at_start_mib,
            "highest": max(mib for _, mib in memory),
            "after": server.rss_mib(),
            "over time": memory,
        },
    }


def percentiles(load: Load, status: int) -> dict[str, float]:
    found = np.percentile(load.latencies[status], [50, 99, 100])
    return dict(zip(("p50", "p99", "max"), (round(float(one), 2) for one in found), strict=True))


def run_overload(options: argparse.Namespace, folder: Path, model: Path) -> tuple[dict[str, object], bool]:
    settings = own_settings(options)
    bodies = folder / "sentences.jsonl"
    sentences = texts.sample("sentences", 300 * BATCH, options.data)
    bodies.write_bytes(b"\n".join(body(sentences[i : i + BATCH]) for i in range(0, len(sentences), BATCH)) + b"\n")
    with start_embedrouter(folder, model, program=options.embedrouter, settings=settings) as server:
        found = asyncio.run(overload(options, server, bodies))
    statuses = found["statuses"]
    assert isinstance(statuses, dict)
    for name, value in found.items():
        shown = {k: v for k, v in value.items() if k != "over time"} if isinstance(value, dict) else value
        print(f"{name.replace('_', ' ')}: {shown}")
    good = set(statuses) <= {200, 503} and found["alive"] is True and found["refusals_without_retry_after"] == 0
    print("as it should be: only 200 and 503 with Retry-After" if good else "NOT as it should be: see the statuses")
    if not statuses.get(503):
        print("nothing was refused: the queue took all of it, and the latencies say what that cost")
    return found, good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    texts.add_data_argument(parser)
    parser.add_argument("mode", nargs="?", choices=["speed", "overload"], default="speed")
    parser.add_argument("--embedrouter", type=Path, default=EMBEDROUTER, help="the program")
    parser.add_argument("--precision", default="auto", help="embedrouter's: auto, float32 or bfloat16")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of embedrouter's")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    one = parser.add_argument_group("speed")
    one.add_argument("--rounds", type=int, default=3)
    one.add_argument("--seconds", type=float, default=5.0, help="least length of a round")
    one.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS), choices=CONNECTIONS)
    one.add_argument("--full", action="store_true", help="the peer too in every case")
    one.add_argument("--no-peer", action="store_true")
    one.add_argument("--no-embedrouter", action="store_true")
    one.add_argument("--infinity", type=Path, default=INFINITY, help="the peer's program")
    one.add_argument("--cold-starts", type=int, default=3, help="how often embedrouter is started to time it")
    two = parser.add_argument_group("overload")
    two.add_argument("--times", type=float, default=10.0, help="of the capacity measured")
    two.add_argument("--overload-seconds", type=float, default=20.0)
    two.add_argument("--limit", type=int, default=8192, help="connections at most")
    options = parser.parse_args()
    if options.no_embedrouter:
        options.cold_starts = 1

    raise_on_sigterm()
    facts = machine()
    announce(facts)
    model = options.model or model_folder()
    with tempfile.TemporaryDirectory() as name:
        if options.mode == "overload":
            found, good = run_overload(options, Path(name), model)
        else:
            found, good = speed(options, Path(name), model), True
    settings = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    client = "wrk" if WRK else "own"
    save(f"serving-{options.mode}", {"machine": facts, "client": client, "options": settings, **found})
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
