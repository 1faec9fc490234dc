"""The texts that are embedded: fixed samples of real corpora (licences and sources: docs/benchmarks.md).

Run it to list the corpora with their lengths.
"""

import argparse
import gzip
import json
import random
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from common import DATA, table

FILES = {
    "questions": "queries_nq.jsonl.gz",
    "sentences": "sentences_scifact.jsonl.gz",
    "dbpedia": "passages_dbpedia.jsonl.gz",
    "passages": "passages_scifact_128_256.jsonl.gz",
    "xquad": "passages_xquad_12_languages.jsonl.gz",
    "peps": "long_peps.jsonl.gz",
}
MIX = ("questions", "sentences", "dbpedia", "passages", "xquad")
CORPORA = ("questions", "sentences", "dbpedia", "passages", "mix")
SEED = 20_251_117


class Text(NamedTuple):
    text: str
    tokens: int  # WordPiece, with [CLS] and [SEP], uncut


@cache
def load(name: str, data: Path) -> Sequence[Text]:
    """All texts of one file, each once, in a fixed random order."""
    with gzip.open(data / "load" / FILES[name], "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts = list({row["text"]: Text(row["text"], row["tokens"]) for row in rows}.values())
    random.Random(SEED).shuffle(texts)
    return texts


def sample(name: str, count: int, data: Path) -> list[str]:
    """`count` distinct texts of a corpus; `mix` has equal shares of the five of `MIX`, shuffled."""
    if name != "mix":
        return [text for text, _ in load(name, data)[:count]]
    share = -(-count // len(MIX))
    mixed = [text for part in MIX for text in sample(part, share, data)]
    random.Random(SEED).shuffle(mixed)
    return mixed[:count]


def short_questions(data: Path) -> list[str]:
    """Some 10,000 distinct questions: each as it is, with its question mark, and politely.

    More than any load has in flight, so that no server can compute one text for two requests.
    """
    questions = sample("questions", 1_000_000, data)
    variants = (*questions, *(f"{one}?" for one in questions), *(f"{one} please" for one in questions))
    return list(dict.fromkeys(variants))


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the texts (default: ../shared/data)")


def main() -> None:
    parser = argparse.ArgumentParser(description="List the corpora and the lengths of their texts.")
    add_data_argument(parser)
    data = parser.parse_args().data
    rows = []
    for name in FILES:
        lengths = sorted(tokens for _, tokens in load(name, data))
        rows.append(
            [
                name,
                f"{len(lengths):,}",
                f"{statistics.mean(lengths):.0f}",
                f"{statistics.median(lengths):.0f}",
                f"{lengths[len(lengths) * 9 // 10]:,}",
                f"{sum(length > 256 for length in lengths) / len(lengths):.1%}",
            ]
        )
    print(table(["corpus", "texts", "mean tokens", "median", "90th percentile", "over 256"], rows))


if __name__ == "__main__":
    main()
