"""Which rows were left out as duplicates, and of which."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from embedrouter.bulk.formats import STANDARD_STREAM
from embedrouter.bulk.row_files import Texts
from embedrouter.bulk.scratch import Scratch
from embedrouter.bulk.targets import check_target, replacing, standard_output
from embedrouter.tasks.dedupe import Duplicates


class Member(msgspec.Struct, frozen=True):
    """A row of a group."""

    row: int  # 1-based line or row of the file
    score: float  # cosine with the one that is kept
    text: str


class Group(msgspec.Struct, frozen=True):
    """Rows that say the same."""

    kept: Member
    left_out: list[Member]


class ReportTarget(msgspec.Struct, frozen=True):
    """Where a report goes. path None: standard output."""

    path: Path | None
    overwrite: bool


def groups_of(duplicates: Duplicates, texts: Texts, vectors: Scratch) -> list[Group]:
    """The groups with their texts, in the order of the rows that are kept. vectors: (n, dimensions), of any length."""
    found = []
    for members in duplicates.groups:
        some = vectors[members].astype(np.float64)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
        scores = np.clip(some @ some[0], -1.0, 1.0).tolist()
        kept, *others = (
            Member(texts.numbers[one], score, texts.values[one]) for one, score in zip(members, scores, strict=True)
        )
        found.append(Group(kept, others))
    return found


def report_target(given: str, *, overwrite: bool) -> ReportTarget:
    """Raises InvalidRequestError before any work is done."""
    if given == STANDARD_STREAM:
        return ReportTarget(None, overwrite)
    return ReportTarget(check_target(Path(given), [], overwrite=overwrite), overwrite)


def write_report(groups: Sequence[Group], target: ReportTarget) -> None:
    """One group a line, as JSON."""
    with standard_output() if target.path is None else replacing(target.path, overwrite=target.overwrite) as stream:
        stream.writelines(msgspec.json.encode(group) + b"\n" for group in groups)
