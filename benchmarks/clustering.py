"""Do clusters of our vectors find real topics as well as scikit-learn finds them in the reference's vectors?

    python benchmarks/clustering.py
    python benchmarks/clustering.py --seeds 10 --precision float32

xquad  the sentences of the first 20 articles of XQuAD, English, each with its article as topic
peps   60 paragraphs of each of the 20 longest PEPs, with their PEP as topic; some PEPs are about the same thing

Ours: `cluster(texts, k=20)` of embedrouter.tasks, over this machine's engine. Theirs: sklearn.cluster.KMeans, ten
starts, over the float32 vectors of sentence-transformers from .venv-st. Both cut texts at 256 tokens. V-measure x100.
Besides: the number of clusters that is chosen without k, and how pure the groups of the other methods are.
"""

import argparse
import gzip
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import v_measure_score

from common import PEER_ENVIRONMENT, ST_PYTHON, announce, machine, model_folder, save, table
from embedrouter.minilm import MiniLM
from embedrouter.tasks.cluster import METHODS, cluster
from texts import add_data_argument

Vectors: TypeAlias = NDArray[np.float32]

TOPICS = 20
PARAGRAPHS = 60
ENCODE = """
import json, sys
import numpy as np
from sentence_transformers import SentenceTransformer
texts = json.load(open(sys.argv[2], encoding="utf-8"))
model = SentenceTransformer(sys.argv[1], device="cpu", model_kwargs={"dtype": "float32"})
np.save(sys.argv[3], model.encode(texts, batch_size=32, show_progress_bar=False))
"""


class Topics(NamedTuple):
    name: str
    texts: list[str]
    labels: NDArray[np.int64]


def xquad(data: Path) -> Topics:
    """Five paragraphs an article, in the order of the file."""
    rows = [row for row in _rows(data, "passages_xquad_12_languages") if row["id"].startswith("en.")]
    found = [
        (sentence, number // 5)
        for number, row in enumerate(rows[: 5 * TOPICS])
        for sentence in re.split(r"(?<=[.!?])\s+", row["text"])
        if len(sentence) >= 40
    ]
    return _topics("xquad", found)


def peps(data: Path) -> Topics:
    rows = sorted(_rows(data, "long_peps"), key=lambda row: -int(row["tokens"]))[:TOPICS]
    found = [
        (" ".join(paragraph.split()), number)
        for number, row in enumerate(rows)
        for paragraph in _paragraphs(row["text"])[:PARAGRAPHS]
    ]
    return _topics("peps", found)


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if len(paragraph) >= 200]


def _rows(data: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(data / "load" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _topics(name: str, found: list[tuple[str, int]]) -> Topics:
    return Topics(name, [text for text, _ in found], np.array([label for _, label in found]))


def reference(texts: list[str], model: Path) -> Vectors:
    """By sentence-transformers in its own environment."""
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "texts.json", Path(name) / "vectors.npy"
        given.write_text(json.dumps(texts), encoding="utf-8")
        command = [str(ST_PYTHON), "-c", ENCODE, str(model), str(given), str(made)]
        subprocess.run(command, check=True, env=PEER_ENVIRONMENT)
        vectors: Vectors = np.load(made)
        return vectors


def v_measure(labels: NDArray[np.int64], found: NDArray[np.integer]) -> float:
    return 100 * float(v_measure_score(labels, found))


def compared(topics: Topics, ours: Vectors, theirs: Vectors, seeds: int) -> tuple[list[float], list[float]]:
    """V-measures x100 of both, a seed each."""
    scores: list[float] = []
    expected: list[float] = []
    for seed in range(seeds):
        scores.append(v_measure(topics.labels, cluster(ours, k=TOPICS, seed=seed).labels))
        starts = KMeans(TOPICS, n_init=10, random_state=seed)
        expected.append(v_measure(topics.labels, starts.fit_predict(theirs)))
        print(f"{topics.name}, seed {seed}: {scores[-1]:.2f}, scikit-learn {expected[-1]:.2f}", flush=True)
    return scores, expected


def others(topics: Topics, vectors: Vectors) -> list[list[str]]:
    """Each method left to itself: clusters, the share of items in one, V-measure of those."""
    rows = []
    for method in METHODS:
        began = time.perf_counter()
        found = cluster(vectors, method=method)
        seconds = time.perf_counter() - began
        inside = found.labels >= 0
        score = v_measure(topics.labels[inside], found.labels[inside])
        name = f"{topics.name}, {method}"
        rows.append([name, str(len(found.clusters)), f"{100 * inside.mean():.0f}", f"{score:.1f}", f"{seconds:.1f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--precision", default="auto", help="of our engine: auto, float32 or bfloat16")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in .venv-st)")
    options = parser.parse_args()
    folder = options.model or model_folder()
    facts = machine()
    announce(facts)
    means, left_alone, results = [], [], {}
    with MiniLM(folder, precision=options.precision) as model:
        for topics in (xquad(options.data), peps(options.data)):
            ours = model.encode(topics.texts, truncate=True)
            scores, expected = compared(topics, ours, reference(topics.texts, folder), options.seeds)
            mean, mean_expected = float(np.mean(scores)), float(np.mean(expected))
            means.append(
                [
                    f"{topics.name}, {len(topics.texts)} texts",
                    f"{mean:.2f} ({min(scores):.1f}-{max(scores):.1f})",
                    f"{mean_expected:.2f} ({min(expected):.1f}-{max(expected):.1f})",
                    f"{mean - mean_expected:+.2f}",
                ]
            )
            left_alone += others(topics, ours)
            results[topics.name] = {"ours": scores, "scikit-learn on the reference": expected}
    print(table([f"V-measure, k = {TOPICS}", "embedrouter", "scikit-learn, reference", "difference"], means))
    print(table(["left to itself", "clusters", "% of items", "V-measure of them", "s"], left_alone))
    save("clustering", {"machine": facts, "precision": options.precision, "v_measures": results})


if __name__ == "__main__":
    main()
