"""Colours of groups: twelve that stay apart, on light and on dark; after them the shapes change."""

from typing import Final

LIGHT: Final = (
    "#2a6fdb",
    "#d9580d",
    "#21834a",
    "#b5338f",
    "#7a55d6",
    "#0c8494",
    "#a87800",
    "#d0303c",
    "#5d7a1f",
    "#4a5bb0",
    "#a15c3e",
    "#5f6b7a",
)
DARK: Final = (
    "#6ea8ff",
    "#ff9a56",
    "#5fcf8d",
    "#f083cf",
    "#b39bff",
    "#4fcbdc",
    "#e6bd4a",
    "#ff7b80",
    "#a9cc5c",
    "#93a3f5",
    "#d9a184",
    "#a9b6c6",
)
REST: Final = ("#b9bec6", "#565d68")  # of no group: on light, on dark
SHAPES: Final = ("circle", "square", "triangle")
