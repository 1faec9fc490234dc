"""SciFact as files have it, and how good a ranking of it is."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Scifact(NamedTuple):
    """5,183 abstracts and 300 claims; `relevant`: by claim, the gain of abstracts by their names."""

    names: Sequence[str]
    contents: Sequence[str]  # title, space, text
    queries: Sequence[str]
    relevant: Sequence[Mapping[str, int]]


def load_scifact(data: Path) -> Scifact:
    folder = data / "retrieval" / "scifact"
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        queries = [json.loads(line) for line in lines]
    relevant: dict[str, dict[str, int]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    return Scifact(
        [document["_id"] for document in documents],
        [f"{document['title']} {document['text']}".strip() for document in documents],
        [query["text"] for query in queries],
        [relevant[query["_id"]] for query in queries],
    )


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], at: int = 10) -> float:
    """Of names, best first."""
    discounts = 1 / np.log2(np.arange(2, at + 2))
    gain = np.zeros(at)
    gain[: len(ranked)] = [relevant.get(name, 0) for name in ranked[:at]]
    ideal = np.array(sorted(relevant.values(), reverse=True)[:at])
    return float((gain * discounts).sum() / (ideal * discounts[: len(ideal)]).sum())
