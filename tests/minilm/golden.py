"""The reference vectors of tests/golden (its README says how they were made)."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embedrouter.minilm.windows import Vectors

_FOLDER = Path(__file__).parent.parent / "golden"


class Golden(NamedTuple):
    names: list[str]
    texts: list[str]
    tokens: list[int]  # of each text, uncut, with [CLS] and [SEP]
    seq256: Vectors  # cut at 256 tokens
    windows: Vectors  # by windows; equal to seq256 up to 256 tokens


@cache
def golden() -> Golden:
    rows = [json.loads(line) for line in (_FOLDER / "texts.jsonl").read_text(encoding="ascii").splitlines()]
    with np.load(_FOLDER / "vectors.npz") as arrays:
        seq256 = arrays["seq256"]
        windows = seq256.copy()
        windows[arrays["windows_index"]] = arrays["windows"]
    return Golden(
        [row["id"] for row in rows], [row["text"] for row in rows], [row["tokens"] for row in rows], seq256, windows
    )
