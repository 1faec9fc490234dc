"""Entries of the catalog as text that people edit, and what an edit would change. Pure."""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from embedrouter.catalog import toml
from embedrouter.catalog.entries import Kind, Stated, document
from embedrouter.catalog.load import Listed
from embedrouter.fields import bad_field

_FIELD: Final = "text"
_NEW: Final[Mapping[Kind, str]] = {
    "provider": '[[providers]]\nslug = ""\nname = ""\nwire = "openai"\nbase_url = "https://"\n',
    "model": '[[models]]\nslug = "author/name"\nname = ""\ncontext_length = 512\ndimensions = 384\n',
    "endpoint": '[[endpoints]]\nmodel = "author/name"\nprovider = ""\nupstream_model = ""\nprice_per_million = "0"\n'
    "retains_prompts = true\ntrains_on_prompts = true\n",
}


class Difference(NamedTuple):
    """A field that an edit would change; None: not said."""

    kind: Kind
    key: str
    field: str
    before: str | None
    after: str | None


class Served(NamedTuple):
    """Models that an edit would bring, and take away."""

    more: tuple[str, ...]
    fewer: tuple[str, ...]


def text_of(listed: Listed) -> str:
    """What holds of an entry, as TOML."""
    return toml.text([Stated(listed.kind, listed.key, listed.source, "", listed.entry)])


def new_text(kind: Kind) -> str:
    """What a new entry begins with."""
    return _NEW[kind]


def read_text(text: str) -> dict[str, Any]:
    """What TOML, or JSON that begins with a brace, says. Raises InvalidRequestError."""
    is_json = text.lstrip().startswith("{")
    try:
        found = msgspec.json.decode(text) if is_json else tomllib.loads(text.replace("\r\n", "\n"))
    except (msgspec.DecodeError, tomllib.TOMLDecodeError) as error:
        raise bad_field(_FIELD, f"is not valid {'JSON' if is_json else 'TOML'}: {error}") from error
    except RecursionError as error:
        raise bad_field(_FIELD, "is nested too deeply") from error
    assert isinstance(found, dict)
    if not found:
        raise bad_field(_FIELD, "states nothing: give [[providers]], [[models]] or [[endpoints]]")
    return found


def differences(before: Iterable[Listed], stated: Iterable[Stated]) -> list[Difference]:
    """What is said otherwise than now, field by field."""
    known = {(one.kind, one.key): document(one.entry) for one in before}
    return [
        Difference(one.kind, one.key, field, _shown(old.get(field)), _shown(new.get(field)))
        for one in stated
        for old, new in [(known.get((one.kind, one.key), {}), document(one.entry))]
        for field in dict.fromkeys((*old, *new))
        if old.get(field) != new.get(field)
    ]


def served(before: Iterable[str], after: Iterable[str]) -> Served:
    """Slugs of models."""
    old, new = list(before), list(after)
    return Served(tuple(slug for slug in new if slug not in old), tuple(slug for slug in old if slug not in new))


def _shown(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
