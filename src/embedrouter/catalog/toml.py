"""Entries as TOML that `embedrouter.catalog.files` reads back."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from embedrouter.catalog.entries import SECTIONS, Stated, document


def text(entries: Iterable[Stated]) -> str:
    """Providers, models and endpoints, each in the order they come in."""
    listed = tuple(entries)
    tables = [
        _table(section, _named(stated))
        for section, kind in SECTIONS.items()
        for stated in listed
        if stated.kind == kind
    ]
    return "\n".join(tables)


def _named(stated: Stated) -> dict[str, Any]:
    if stated.entry is not None:
        return document(stated.entry)
    model, _, tag = stated.key.partition(" ")
    identity = {"model": model, "tag": tag} if stated.kind == "endpoint" else {"slug": stated.key}
    return {**identity, "removed": True}


def _table(section: str, fields: Mapping[str, Any]) -> str:
    return "".join((f"[[{section}]]\n", *(f"{name} = {_value(value)}\n" for name, value in fields.items())))


def _value(value: Any) -> str:
    """JSON says strings, numbers, booleans and lists as TOML does; there is no null, which is left out as a default."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_value(one)}" for name, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
