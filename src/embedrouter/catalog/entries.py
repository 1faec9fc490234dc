"""What a file or the database says of providers, models and endpoints, before it is checked against the rest.

The same structs read TOML files, bodies of the API and rows of the database.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from embedrouter.errors import CatalogProblem, nearest

Kind = Literal["provider", "model", "endpoint"]
Source = Literal["shipped", "file", "database"]  # a later one replaces what an earlier one says, entry by entry

Short = Annotated[str, Meta(max_length=200)]
Long = Annotated[str, Meta(max_length=4_000)]
Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]
Dimensions = Annotated[int, Meta(ge=1, le=65_536)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Words = Annotated[tuple[Short, ...], Meta(max_length=50)]
Quantization = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"
]

_REPEATED: Final = 80  # characters of what was stated that an error repeats


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody who serves models, and how he is asked."""

    slug: Short
    name: Short = ""  # the slug if left out
    wire: Short  # the wire format that he understands
    base_url: Annotated[str, Meta(max_length=500)] | None = None  # with {names} of options
    options: dict[Short, Short] = {}  # an empty one is to be filled in before he can be asked
    needs_credential: bool = True
    credential_env: Short | None = None  # the environment variable that may hold one
    allow_private: bool = False  # his host may be in a private network, and be asked by http
    disabled: bool = False
    privacy_policy_url: Short | None = None
    terms_of_service_url: Short | None = None
    status_page_url: Short | None = None
    headquarters: Short | None = None  # ISO 3166-1 alpha-2
    datacenters: Words | None = None


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model: one vector space."""

    slug: Short  # author/name
    canonical_slug: Short = ""  # the slug if left out
    name: Short = ""  # the slug if left out
    created: date | None = None  # its release
    description: Long = ""
    hugging_face_id: Short | None = None
    context_length: Tokens
    dimensions: Dimensions
    revision: Short = ""  # of the weights; empty: not known
    pooling: Short = ""  # mean, cls, last; empty: not known
    fixed_dimensions: bool = False  # its vectors may not be cut
    aliases: Words = ()


class SpaceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The vectors that an endpoint gives, as far as they are stated."""

    revision: Short | None = None
    dimensions: Dimensions | None = None
    pooling: Short | None = None


class LimitsEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one call may carry; more is split."""

    items: Count = 2_048
    tokens: Count | None = None  # of all items together
    concurrent: Count | None = None  # calls under way at once, of one process


class EndpointEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model at a provider. What its provider does with prompts is the worst until it is stated."""

    model: Short  # slug
    provider: Short  # slug
    tag: Short = ""  # provider or provider/variant; the provider if left out
    upstream_model: Short  # what the provider calls the model
    price_per_million: Short = "0"  # USD for a million tokens, as a decimal string
    context_length: Tokens | None = None  # the model's if left out
    quantization: Quantization = "unknown"
    retains_prompts: bool = True
    trains_on_prompts: bool = True
    supported_parameters: Words = ()
    region: Short | None = None
    limits: LimitsEntry = LimitsEntry()
    space: SpaceEntry | None = None  # checked against the model's
    disabled: bool = False

    @property
    def exact_tag(self) -> str:
        """What names it among its model's endpoints."""
        return self.tag or self.provider


Entry = ProviderEntry | ModelEntry | EndpointEntry

TYPES: Final[Mapping[Kind, type[Entry]]] = {
    "provider": ProviderEntry,
    "model": ModelEntry,
    "endpoint": EndpointEntry,
}
SECTIONS: Final[Mapping[str, Kind]] = {"providers": "provider", "models": "model", "endpoints": "endpoint"}


class Stated(NamedTuple):
    """One entry of one source."""

    kind: Kind
    key: str
    source: Source
    where: str  # for people
    entry: Entry | None  # None: what earlier sources state is hidden

    @property
    def title(self) -> str:
        """How errors name it."""
        return title(self.kind, self.key, self.where)


class Sheet(NamedTuple):
    """All that one source states, and what of it cannot be read."""

    stated: tuple[Stated, ...] = ()
    problems: tuple[CatalogProblem, ...] = ()


def title(kind: str, key: str, where: str) -> str:
    """`model "acme/one" in catalog.toml`."""
    return f'{kind} "{key[:_REPEATED]}" {where}'


def key_of(entry: Entry) -> str:
    """What names an entry among those of its kind."""
    return f"{entry.model} {entry.exact_tag}" if isinstance(entry, EndpointEntry) else entry.slug


def sheet(document: Mapping[str, Any], source: Source, where: str) -> Sheet:
    """Read tables as TOML or JSON gave them: lists named providers, models and endpoints."""
    stated: list[Stated] = []
    problems: list[CatalogProblem] = []
    for section, items in document.items():
        kind = SECTIONS.get(section)
        if kind is None:
            problems.append(
                CatalogProblem(where, section, f"is no part of a catalog{nearest(section, list(SECTIONS))}")
            )
        elif not isinstance(items, list):
            problems.append(CatalogProblem(where, section, f"must be a list of tables: [[{section}]]"))
        else:
            for number, item in enumerate(items, 1):
                read = state(kind, item, source, where, number)
                (stated if isinstance(read, Stated) else problems).append(read)  # type: ignore[arg-type]
    return Sheet(tuple(stated), (*problems, *_twice(stated)))


def state(kind: Kind, item: Any, source: Source, where: str, number: int = 1) -> Stated | CatalogProblem:
    """Read one entry. number: which of its kind it is in its source, for one that does not say its name."""
    if not isinstance(item, dict):
        return CatalogProblem(f"{kind} {number} {where}", "", "must be a table")
    if "removed" in item:
        return _removal(kind, item, source, where, number)
    try:
        entry = msgspec.convert(item, TYPES[kind])
    except msgspec.ValidationError as error:
        return CatalogProblem(title(kind, _name(kind, item) or str(number), where), *_told(error, kind))
    return Stated(kind, key_of(entry), source, where, entry)


def from_body(kind: str, key: str, body: bytes | str, where: str) -> Stated | CatalogProblem:
    """Read a row of the database. where: for people."""
    if kind not in TYPES:
        return CatalogProblem(title(kind, key, where), "kind", f"must be one of {', '.join(TYPES)}")
    try:
        item = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        return CatalogProblem(title(kind, key, where), "", f"is not valid JSON: {error}")
    if isinstance(item, dict) and item.get("removed") is True:
        return Stated(kind, key, "database", where, None)  # type: ignore[arg-type]
    read = state(kind, item, "database", where)  # type: ignore[arg-type]
    if isinstance(read, Stated) and read.key != key:
        return CatalogProblem(title(kind, key, where), "slug", f'is "{read.key}" inside')
    return read


def document(entry: Entry | None) -> dict[str, Any]:
    """An entry as JSON or TOML say it, without what is the default."""
    if entry is None:
        return {"removed": True}
    found: dict[str, Any] = msgspec.to_builtins(entry)
    return found


def body_of(stated: Stated) -> str:
    """The same as a row of the database keeps it."""
    return msgspec.json.encode(document(stated.entry)).decode()


def _removal(kind: Kind, item: Mapping[str, Any], source: Source, where: str, number: int) -> Stated | CatalogProblem:
    names = ("model", "tag") if kind == "endpoint" else ("slug",)
    key = _name(kind, item)
    if item["removed"] is not True or key is None or set(item) != {*names, "removed"}:
        said = " and ".join(names)
        return CatalogProblem(
            title(kind, key or str(number), where), "removed", f"must be true, beside nothing but {said}, or left out"
        )
    return Stated(kind, key, source, where, None)


def _name(kind: Kind, item: Mapping[str, Any]) -> str | None:
    if kind != "endpoint":
        slug = item.get("slug")
        return slug if isinstance(slug, str) else None
    model, tag = item.get("model"), item.get("tag") or item.get("provider")
    return f"{model} {tag}" if isinstance(model, str) and isinstance(tag, str) else None


def _twice(stated: list[Stated]) -> Iterator[CatalogProblem]:
    seen: set[tuple[str, str]] = set()
    for one in stated:
        if (one.kind, one.key) in seen:
            field = "tag" if one.kind == "endpoint" else "slug"
            yield CatalogProblem(one.title, field, "is stated twice; each must be there once")
        seen.add((one.kind, one.key))


def _told(error: msgspec.ValidationError, kind: Kind) -> tuple[str, str]:
    """The field and what is wrong with it, of a message like `Expected `int`, got `str` - at `$.dimensions``."""
    what, _, path = str(error).partition(" - at `")
    field = path.removeprefix("key in `").rstrip("`").removeprefix("$").removeprefix(".")
    if found := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", what, re.DOTALL):
        name = ".".join(filter(None, (field, found[2][:_REPEATED])))
        if found[1] == "missing required":
            return name, "is required"
        return name, f"is no field of this{nearest(found[2], TYPES[kind].__struct_fields__)}"
    if field == "price_per_million":
        return field, 'must be a decimal number in quotes: "0.02" is USD 0.02 for a million tokens'
    what = what.replace("`", "")
    return field, f"{what[:1].lower()}{what[1:]}"[: 2 * _REPEATED]
