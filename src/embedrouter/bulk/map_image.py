"""A map as a PNG, by matplotlib."""

from importlib.util import find_spec
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk import palette
from embedrouter.bulk.maps import NO_GROUP, Map, short_name
from embedrouter.errors import InvalidRequestError

_MARKERS: Final = {"circle": "o", "square": "s", "triangle": "^"}
_LEGEND: Final = 18  # groups named in it
_LABELLED: Final = 20  # groups; more names would hide the points
_NAME: Final = 34  # characters


def check_installed() -> None:
    """Raises InvalidRequestError saying how to install it."""
    if find_spec("matplotlib") is None:
        raise InvalidRequestError(
            "a PNG needs matplotlib, which is not installed: pip install 'embedrouter[plot]', or write .html"
        )


def picture(drawn: Map, *, dark: bool) -> bytes:
    """1600 by 1000 points at most, with a legend beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ink, faint, ground = ("#e8eaed", "#9aa3af", "#14171c") if dark else ("#1b1f24", "#66707c", "#ffffff")
    figure = Figure(figsize=(12.8, 8), dpi=150, facecolor=ground)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.03, 0.70, 0.87))
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(22_000 / max(len(drawn.texts), 1), 5, 70))
    group = np.array(drawn.group)
    rest = group == NO_GROUP
    if rest.any():
        axes.scatter(drawn.points[rest, 0], drawn.points[rest, 1], s=size * 0.7, c=palette.REST[dark], linewidths=0)
    handles = [
        axes.scatter(
            drawn.points[group == number, 0],
            drawn.points[group == number, 1],
            s=size,
            c=_colour(number, dark=dark),
            marker=_MARKERS[palette.SHAPES[number // len(palette.LIGHT)]],
            linewidths=0.4,
            edgecolors=ground,
            label=_named(name, int((group == number).sum())),
        )
        for number, name in enumerate(drawn.groups)
    ]
    if len(drawn.groups) <= _LABELLED:
        _labels(axes, drawn, group, ink=ink, ground=ground)
    figure.text(0.02, 0.965, drawn.title, color=ink, fontsize=15, fontweight="bold", va="center")
    figure.text(0.02, 0.928, drawn.note, color=faint, fontsize=9.5, va="center")
    if handles:
        _legend(figure, drawn, handles, int(rest.sum()), ink=ink, faint=faint)
    written = BytesIO()
    figure.savefig(written, format="png", metadata={"Software": "embedrouter"})
    return written.getvalue()


def _labels(axes: Any, drawn: Map, group: NDArray[np.int64], *, ink: str, ground: str) -> None:
    """Names in the middle of their groups, where they do not hide each other."""
    from matplotlib.patheffects import withStroke

    taken: list[NDArray[np.float64]] = []
    for number, name in enumerate(drawn.groups):
        own = drawn.points[group == number]
        middle = np.median(own, axis=0)
        # A letter is about 0.008 wide at this size, a line 0.025 high.
        reach = np.array((0.008 * _NAME, 0.03))
        if all((np.abs(middle - other) > reach).any() for other in taken):
            taken.append(middle)
            halo = [withStroke(linewidth=3, foreground=ground)]
            text = _plain(short_name(name))
            axes.text(
                *middle, text, color=ink, fontsize=9.5, fontweight="bold", ha="center", va="center", path_effects=halo
            )


def _legend(figure: Any, drawn: Map, handles: list[Any], rest: int, *, ink: str, faint: str) -> None:
    legend = figure.legend(
        handles=handles[:_LEGEND],
        loc="upper left",
        bbox_to_anchor=(0.735, 0.91),
        frameon=False,
        labelcolor=ink,
        fontsize=10,
        handletextpad=0.3,
        labelspacing=0.75,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([55])
    more = [f"and {len(handles) - _LEGEND} more groups"] if len(handles) > _LEGEND else []
    more += [f"grey: {drawn.rest}, {rest:,}"] if rest else []
    if more:
        figure.text(0.745, 0.04, "\n".join(more), color=faint, fontsize=9.5, va="bottom")


def _colour(number: int, *, dark: bool) -> str:
    colours = palette.DARK if dark else palette.LIGHT
    return colours[number % len(colours)]


def _named(name: str, count: int) -> str:
    return f"{_plain(short_name(name, _NAME))}  {count:,}"


def _plain(name: str) -> str:
    """Short, on one line; a "$" would begin a formula, and "_" before a name hides it from the legend."""
    line = " ".join(name.split())
    short = line if len(line) <= _NAME else f"{line[: _NAME - 1]}…"
    return short.replace("$", r"\$").lstrip("_") or "unnamed"
