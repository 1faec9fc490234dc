"""Catalogs in TOML: the shipped one, and the operator's."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from embedrouter.catalog.entries import Sheet, sheet
from embedrouter.errors import SettingsError

NAME: Final = "catalog.toml"  # in the data folder, where the setting names no file
_LARGEST: Final = 4 << 20  # bytes


@cache
def shipped() -> Sheet:
    """What comes with the program."""
    text = files("embedrouter.catalog").joinpath("shipped.toml").read_text(encoding="utf-8")
    return sheet(tomllib.loads(text), "shipped", "in the shipped catalog")


def chosen(wanted: Path | None, data_dir: Path) -> Path | None:
    """The operator's file: the one that is named, else the one in the data folder, if it is there."""
    if wanted is not None:
        return wanted
    usual = data_dir / NAME
    return usual if usual.exists() else None


def read(path: Path) -> Sheet:
    """An operator's file. Raises SettingsError if it cannot be read as TOML."""
    try:
        with path.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise SettingsError(f"{path} is larger than {_LARGEST >> 20} MiB: that is no catalog")
        return sheet(tomllib.loads(content.decode("utf-8")), "file", f"in {path}")
    except OSError as error:
        raise SettingsError(f"cannot read the catalog {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
