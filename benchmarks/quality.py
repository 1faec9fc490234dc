"""Is it still the model? Published scores and reference vectors, through the running server over HTTP.

    python benchmarks/quality.py                                   starts a server of its own
    python benchmarks/quality.py --precision float32 sts golden
    python benchmarks/quality.py --url http://127.0.0.1:8000/api/v1 --key "$KEY"

sts              Spearman x100 of cosines with people's judgements, STS17 en-en; the reference's fp32: 87.59
golden           distance from the reference's own fp32 vectors of 1,000 texts, cut and by windows
scifact          nDCG@10 x100 of retrieval, SciFact, cut at 256 tokens; the reference's fp32: 64.51
scifact-windows  the same by windows, which has no published score
"""

import argparse
import contextlib
import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from client import embed_all
from common import announce, machine, model_folder, save, table
from retrieval import load_scifact, ndcg
from servers import EMBEDROUTER, raise_on_sigterm, start_embedrouter
from texts import add_data_argument

Vectors: TypeAlias = NDArray[np.float32]
Embed: TypeAlias = Callable[[list[str], bool | None], Vectors]

STS_REFERENCE = 87.59
SCIFACT_REFERENCE = 64.51


class Score(NamedTuple):
    what: str
    value: float
    reference: float | None


def sts(embed: Embed, data: Path) -> list[Score]:
    with (data / "sts" / "sts17-en-en.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    left = embed([row["sentence1"] for row in rows], True)
    right = embed([row["sentence2"] for row in rows], True)
    gold = np.array([float(row["score"]) for row in rows])
    return [Score("STS17 en-en, Spearman x100", 100 * spearman((left * right).sum(1), gold), STS_REFERENCE)]


def scifact(embed: Embed, data: Path) -> list[Score]:
    return [Score("SciFact, nDCG@10 x100, cut at 256", retrieval(embed, data, truncate=True), SCIFACT_REFERENCE)]


def scifact_windows(embed: Embed, data: Path) -> list[Score]:
    return [Score("SciFact, nDCG@10 x100, windows", retrieval(embed, data, truncate=None), None)]


def retrieval(embed: Embed, data: Path, *, truncate: bool | None) -> float:
    """nDCG@10 x100 of the claims of SciFact over its abstracts."""
    found = load_scifact(data)
    similarity = embed(list(found.queries), truncate) @ embed(list(found.contents), truncate).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    ranked = [[found.names[one] for one in row] for row in order]
    return 100 * float(np.mean([ndcg(*one) for one in zip(ranked, found.relevant, strict=True)]))


def golden(embed: Embed, data: Path) -> list[Score]:
    folder = data / "golden"
    with gzip.open(folder / "texts.jsonl.gz", "rt", encoding="utf-8") as lines:
        contents = [json.loads(line)["text"] for line in lines]
    scores = compare("cut at 256", embed(contents, True), np.load(folder / "embeddings_fp32_seq256.npy"))
    longer = [contents[i] for i in np.load(folder / "windows_index.npy")]
    return scores + compare("windows", embed(longer, None), np.load(folder / "embeddings_fp32_windows.npy"))


def compare(label: str, found: Vectors, reference: Vectors) -> list[Score]:
    cosines = (found.astype(np.float64) * reference).sum(1)
    return [
        Score(f"golden, {label} ({len(found)} texts), lowest cosine", float(cosines.min()), 1.0),
        Score(f"golden, {label}, mean cosine", float(cosines.mean()), 1.0),
        Score(f"golden, {label}, largest difference", float(np.abs(found - reference).max()), 0.0),
    ]


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean: NDArray[np.float64] = np.cumsum(counts) - (counts + 1) / 2
    return mean[inverse]


PARTS: dict[str, Callable[[Embed, Path], list[Score]]] = {
    "sts": sts,
    "golden": golden,
    "scifact": scifact,
    "scifact-windows": scifact_windows,
}


@contextlib.contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """URL and key: the user's, or of a server that lives as long as this."""
    if options.url:
        yield options.url.rstrip("/"), options.key
        return
    with tempfile.TemporaryDirectory() as name:
        model = options.model or model_folder()
        settings = {"precision": options.precision}
        with start_embedrouter(Path(name), model, program=options.embedrouter, settings=settings) as started:
            yield started.url, started.key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_argument(parser)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--url", help="of a running server, with /api/v1")
    parser.add_argument("--key", default="", help="for --url")
    parser.add_argument("--precision", default="auto", help="of the server started here: auto, float32 or bfloat16")
    parser.add_argument("--embedrouter", type=Path, default=EMBEDROUTER, help="the program to start")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")

    raise_on_sigterm()
    facts = machine()
    announce(facts)
    with server(options) as (url, key):

        def embed(contents: list[str], truncate: bool | None) -> Vectors:
            return embed_all(url, key, contents, truncate=truncate)

        scores = [score for part in parts for score in PARTS[part](embed, options.data)]

    def shown(value: float | None, what: str) -> str:
        return "" if value is None else f"{value:.2f}" if "x100" in what else f"{value:.7f}"

    rows = [[score.what, shown(score.value, score.what), shown(score.reference, score.what)] for score in scores]
    print(table(["what", "embedrouter", "reference"], rows))
    origin = options.url or f"own server, precision {options.precision}"
    save("quality", {"machine": facts, "server": origin, "scores": [score._asdict() for score in scores]})


if __name__ == "__main__":
    main()
