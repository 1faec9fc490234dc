"""A map of texts: points with groups, as a page or as a picture."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk.columns import listed
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.row_files import InputOptions, Texts
from embedrouter.bulk.row_passages import RowReader
from embedrouter.bulk.snippets import shortened
from embedrouter.bulk.targets import check_target, replacing
from embedrouter.errors import InvalidRequestError, nearest

MOST_GROUPS = 36  # 12 colours by 3 shapes; the rows of the smallest groups become "other"
NO_GROUP = -1
_SHOWN = 320  # characters of a text


class Map(NamedTuple):
    """What is drawn."""

    title: str
    note: str  # how it was made
    points: NDArray[np.float64]  # (n, 2) in 0..1
    groups: list[str]  # names, the largest first
    group: list[int]  # of each point; NO_GROUP: of none, or of a small one
    rest: str  # what points of NO_GROUP are called
    labels: list[str]  # of each point, a few words; may be empty
    texts: list[str]


class MapTarget(msgspec.Struct, frozen=True):
    """Where a map goes."""

    path: Path
    format: Literal["html", "png"]
    overwrite: bool


def map_target(given: str, source: Path | str, *, overwrite: bool) -> MapTarget:
    """Raises InvalidRequestError before any work is done, also when what draws pictures is not installed."""
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix not in {".html", ".htm", ".png"}:
        raise InvalidRequestError(f"a map is written as .html or .png, not as {path.name}")
    if suffix == ".png":
        from embedrouter.bulk.map_image import check_installed

        check_installed()
    real = check_target(path, [Path(source)], overwrite=overwrite)
    return MapTarget(real, "png" if suffix == ".png" else "html", overwrite)


def write_map(drawn: Map, target: MapTarget, *, dark: bool = False) -> None:
    """Write it whole or not at all. dark: of a picture; a page follows its reader's setting."""
    with replacing(target.path, overwrite=target.overwrite) as stream:
        if target.format == "html":
            from embedrouter.bulk.map_page import page

            stream.write(page(drawn).encode())
        else:
            from embedrouter.bulk.map_image import picture

            stream.write(picture(drawn, dark=dark))


def grouped_by(values: Sequence[str | None], rest: str = "none") -> tuple[list[str], list[int], str]:
    """Names of the groups, the largest first, and the group of each value; and what the others are called.

    With more values than there are colours and shapes the rarest are together one.
    """
    counts = Counter(value for value in values if value is not None)
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = [name for name, _ in common[:MOST_GROUPS]]
    numbers = {name: number for number, name in enumerate(names)}
    others = f"other ({len(common) - len(names)} values)" if len(common) > len(names) else rest
    return names, [NO_GROUP if value is None else numbers.get(value, NO_GROUP) for value in values], others


def column_values(place: Place[SourceFormat], name: str, texts: Texts, options: InputOptions) -> list[str | None]:
    """A column of the rows that have texts, as words. Raises InvalidRequestError when no row has it."""
    known: dict[str, None] = {}
    found: list[str | None] = []
    with RowReader(place, None if place.format == "text" else texts.column, options.on_empty) as reader:
        for row in reader.rows():
            known |= dict.fromkeys(row.columns)
            value = row.text if name == texts.column else row.columns.get(name)
            found.append(value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode())
    if name not in known and name != texts.column:
        others = list(known)
        raise InvalidRequestError(
            f'{place.name} has no column "{name}"{nearest(name, others)}; its other columns are {listed(others)}'
        )
    return found


def short_name(name: str, most: int = 26) -> str:
    """A group's name for the map itself: the first of its words that fit."""
    words = " ".join(name.split()).split(", ")
    while len(words) > 1 and len(", ".join(words)) > most:
        words.pop()
    return shortened(", ".join(words), most)


def shown(texts: Sequence[str]) -> list[str]:
    """Texts as a map shows them."""
    return [shortened(text, _SHOWN) for text in texts]
