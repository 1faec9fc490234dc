"""CSV that a spreadsheet can open without running anything."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from litestar import Response

# What spreadsheets take for the start of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | float | None


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """RFC 4180. Numbers stay numbers; text that looks like a formula gets a ' before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue()


def csv_response(name: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Response[bytes]:
    """A file to download. name: without its suffix, of our own making."""
    return Response(
        csv_text(columns, rows).encode("utf-8", "replace"),
        media_type="text/csv",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def _safe(cell: Cell) -> str | int | None:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    if isinstance(cell, float):
        text = f"{cell:.15f}".rstrip("0").rstrip(".")  # 5e-09 is text to some
        return "0" if text in ("", "-0") else text
    return cell
