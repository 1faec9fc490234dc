"""Whose vectors these are: those of two models do not compare."""

from typing import Final

from embedrouter.errors import ConflictError
from embedrouter.tasks.vectors import Encoder

_ROUNDING: Final = "precision="  # the same vectors, rounded otherwise: those of one text have a cosine above 0.998


def fingerprint(encoder: Encoder) -> str | None:
    """What names a model and its version; None of one that does not say."""
    named = getattr(encoder, "fingerprint", None)
    return str(named() if callable(named) else named) if named is not None else None


def require_same(held: str | None, given: str | None) -> None:
    """Raises ConflictError when vectors of the two do not compare. None: not known."""
    if held is not None and given is not None and _essence(held) != _essence(given):
        raise ConflictError(f"the index holds vectors of {held}, which do not compare with those of {given}")


def _essence(name: str) -> list[str]:
    return [part for part in name.split(";") if not part.startswith(_ROUNDING)]
