"""Retrieval as people do it: nDCG@10 on SciFact through `Index`, POST /rerank over what it found, and the command line.

    python benchmarks/scifact.py                         an index, and a server of its own
    python benchmarks/scifact.py --reranked 100 windows  /rerank for the first 100 claims, by windows alone

Once with abstracts cut at 256 tokens, once by windows. The reference's fp32, cut: 64.51. Ranking again what the index
found must not change its figure for the same claims. The server keeps vectors, so that it embeds an abstract once.
The command line is `embedrouter index build` on the abstracts and `index search` with the claims, a line each.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from common import MODEL, announce, machine, model_folder, save, table
from embedrouter.minilm import MiniLM
from embedrouter.tasks import Index
from retrieval import Scifact, load_scifact, ndcg
from servers import EMBEDROUTER, Server, raise_on_sigterm, start_embedrouter
from texts import add_data_argument

REFERENCE = 64.51  # cut
RULES: dict[str, bool | None] = {"cut at 256": True, "windows": None}
FOUND = 100  # abstracts a claim that are ranked again


class Result(NamedTuple):
    what: str
    claims: int
    ndcg: float  # at 10, x100
    expected: float | None  # the reference's, or the index's for the same claims
    seconds: float
    median_ms: float  # a claim


def mean_ndcg(rankings: Sequence[Sequence[str]], data: Scifact) -> float:
    gains = [ndcg(ranked, relevant) for ranked, relevant in zip(rankings, data.relevant, strict=False)]
    return 100 * statistics.fmean(gains)


def searched(model: MiniLM, data: Scifact, rule: str) -> tuple[Result, list[list[int]]]:
    """The index's own answer, and for each claim the abstracts it found."""
    started = time.perf_counter()
    index = Index(kind="exact")
    index.add(model.encode(list(data.contents), truncate=RULES[rule]))
    queries = model.encode(list(data.queries), truncate=RULES[rule])
    found, times = [], []
    for query in queries:
        before = time.perf_counter()
        (hits,) = index.search(np.atleast_2d(query), top_k=FOUND)
        times.append(time.perf_counter() - before)
        found.append([hit.id for hit in hits])
    value = mean_ndcg([[data.names[one] for one in ids] for ids in found], data)
    took = time.perf_counter() - started
    expected = REFERENCE if RULES[rule] else None
    return Result(f"Index.search, {rule}", len(found), value, expected, took, 1000 * statistics.median(times)), found


def reranked(server: Server, data: Scifact, found: Sequence[Sequence[int]], rule: str) -> Result:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=120)
    head = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    rankings, times = [], []
    started = time.perf_counter()
    for query, best_first in zip(data.queries, found, strict=False):
        ids = sorted(best_first)  # so that nothing is left of the order they were found in
        asked = {"model": MODEL, "query": query, "documents": [data.contents[one] for one in ids], "top_n": 10}
        before = time.perf_counter()
        connection.request("POST", f"{address.path}/rerank", json.dumps({**asked, "truncate": RULES[rule]}), head)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        times.append(time.perf_counter() - before)
        if answer.status != 200:
            raise SystemExit(f"/rerank answered {answer.status}: {body}")
        rankings.append([data.names[ids[one["index"]]] for one in body["results"]])
    took = time.perf_counter() - started
    expected = mean_ndcg([[data.names[one] for one in ids] for ids in found], data)
    what = f"POST /rerank of {FOUND}, {rule}"
    median = 1000 * statistics.median(times)
    return Result(what, len(found), mean_ndcg(rankings, data), expected, took, median)


def by_command(program: Path, model: Path, data: Scifact, rule: str, expected: float) -> Result:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = ({"name": one, "text": text} for one, text in zip(data.names, data.contents, strict=True))
        (folder / "abstracts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = ["--truncate"] if RULES[rule] else []

        def run(*arguments: str, typed: str = "") -> str:
            command = [str(program), "index", *arguments, "--model-dir", str(model), "--offline"]
            return subprocess.run(command, input=typed, stdout=subprocess.PIPE, text=True, check=True).stdout

        run("build", f"{folder}/index", f"{folder}/abstracts.jsonl", "--quiet", *options)
        before = time.perf_counter()
        found = json.loads(run("search", f"{folder}/index", "--json", typed="\n".join(data.queries)))
        claim_ms = 1000 * (time.perf_counter() - before) / len(data.queries)
    value = mean_ndcg([[hit["metadata"]["name"] for hit in one["hits"]] for one in found], data)
    took = time.perf_counter() - started
    return Result(f"embedrouter index search, {rule}", len(found), value, expected, took, claim_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_argument(parser)
    parser.add_argument("rules", nargs="*", metavar="rule", help="of cut, windows (default: both)")
    parser.add_argument("--reranked", type=int, default=300, help="claims for /rerank, from the first on")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--embedrouter", type=Path, default=EMBEDROUTER, help="the program to start")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    options = parser.parse_args()
    rules = [rule for rule in RULES if not options.rules or rule.split()[0] in options.rules]
    if not rules:
        parser.error("rules are cut and windows")

    raise_on_sigterm()
    facts = machine()
    announce(facts)
    folder = options.model or model_folder()
    data = load_scifact(options.data)
    model = MiniLM(folder, precision=options.precision)
    indexed = {rule: searched(model, data, rule) for rule in rules}
    model.close()
    results = []
    with tempfile.TemporaryDirectory() as name:
        settings = {"precision": options.precision, "vector_cache_mib": "64"}
        with start_embedrouter(Path(name), folder, program=options.embedrouter, settings=settings) as server:
            for rule, (result, found) in indexed.items():
                results += [result, reranked(server, data, found[: options.reranked], rule)]
    results += [by_command(options.embedrouter, folder, data, rule, indexed[rule][0].ndcg) for rule in rules]

    headings = ["what", "claims", "nDCG@10 x100", "expected", "seconds", "ms a claim"]
    rows = [
        [
            one.what,
            str(one.claims),
            f"{one.ndcg:.2f}",
            "" if one.expected is None else f"{one.expected:.2f}",
            f"{one.seconds:.1f}",
            f"{one.median_ms:.2f}",
        ]
        for one in results
    ]
    print(table(headings, rows))
    save("scifact", {"machine": facts, "results": [one._asdict() for one in results]})


if __name__ == "__main__":
    main()
