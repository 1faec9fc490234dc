"""Similarities of all rows with all rows, written a block at a time."""

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from embedrouter.bulk.targets import check_target, replacing
from embedrouter.errors import InvalidRequestError

MOST_SHOWN = 30  # rows whose matrix is for eyes
_BLOCK = 1024


class MatrixTarget(msgspec.Struct, frozen=True):
    """Where a matrix goes."""

    path: Path
    format: Literal["npy", "csv"]
    overwrite: bool


def matrix_target(given: str, *, overwrite: bool) -> MatrixTarget:
    """Raises InvalidRequestError before any work is done."""
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix not in {".npy", ".csv"}:
        raise InvalidRequestError(f"a matrix is written as .npy or .csv, not as {path.name}; for two columns: --pairs")
    return MatrixTarget(check_target(path, [], overwrite=overwrite), "npy" if suffix == ".npy" else "csv", overwrite)


def write_matrix(unit: NDArray[np.float32], target: MatrixTarget) -> None:
    """Cosines (n, n) of unit vectors (n, dimensions), float32."""
    count = len(unit)
    with replacing(target.path, overwrite=target.overwrite) as stream:
        if target.format == "npy":
            npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (count, count)})
        for start in range(0, count, _BLOCK):
            block = (unit[start : start + _BLOCK] @ unit.T).clip(-1, 1)
            if target.format == "npy":
                stream.write(np.ascontiguousarray(block, "<f4").data)
            else:
                stream.writelines((",".join(f"{score:.6f}" for score in row) + "\n").encode() for row in block.tolist())
