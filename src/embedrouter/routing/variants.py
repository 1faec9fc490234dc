"""Variants of a model: a suffix of its name that stands for a preference."""

from typing import Final, Literal

Variant = Literal["nitro", "floor", "free"]  # sort by throughput; sort by price; only endpoints that cost nothing

_VARIANTS: Final[dict[str, Variant]] = {"nitro": "nitro", "floor": "floor", "free": "free"}


def split_variant(name: str) -> tuple[str, Variant | None]:
    """A model's name without its variant, and the variant. Another suffix is part of the name: `all-minilm:33m`."""
    base, _, suffix = name.rpartition(":")
    variant = _VARIANTS.get(suffix.lower())
    return (base, variant) if base and variant is not None else (name, None)


def with_variant(slug: str, variant: Variant | None) -> str:
    """The name again."""
    return slug if variant is None else f"{slug}:{variant}"
