"""What a visitor of /models asked for: its query, read and written. Pure functions."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Meta

from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.select import ModelQuery, Sort, words
from embedrouter.web.formats import compact
from embedrouter.web.forms import address

Format = Literal["table", "cards"]

PATH: Final = "/models"
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
# Those that order by what the catalog says; the API takes others, too, and answers them in the catalog's order.
SORTS: Final[tuple[tuple[Sort, str], ...]] = (
    ("newest", "Newest first"),
    ("pricing-low-to-high", "Price, lowest first"),
    ("pricing-high-to-low", "Price, highest first"),
    ("context-high-to-low", "Context, longest first"),
)

_LISTS: Final = ("input_modalities", "output_modalities", "model_authors", "providers", "supported_parameters")
_NAMES: Final = {
    "q": "Search",
    "input_modalities": "Input",
    "output_modalities": "Output",
    "context": "Context",
    "min_price": "Price",
    "max_price": "Price",
    "model_authors": "Author",
    "providers": "Provider",
    "supported_parameters": "Parameter",
    "zdr": "Data",
}
_CONTEXTS: Final = (512, 2_048, 8_192, 32_000, 128_000)
_TYPES: Final = get_type_hints(ModelQuery, include_extras=True)
_OFFSET: Final = Annotated[int, Meta(ge=0, le=1_000_000)]


class Asked(NamedTuple):
    """What the address says. wrong: sentences about what it says wrongly, which is left out."""

    query: ModelQuery
    fmt: Format = "table"
    offset: int = 0
    wrong: tuple[str, ...] = ()


class Chip(NamedTuple):
    """A filter that holds, and the address without it."""

    name: str
    value: str
    href: str


class Choice(NamedTuple):
    """Of a select, or a box to tick."""

    value: str
    title: str
    chosen: bool


class Choices(NamedTuple):
    """What the form offers, and what of it was chosen."""

    sorts: tuple[Choice, ...]
    contexts: tuple[Choice, ...]
    inputs: tuple[Choice, ...]
    outputs: tuple[Choice, ...]
    authors: tuple[Choice, ...]
    providers: tuple[Choice, ...]
    parameters: tuple[Choice, ...]

    @property
    def more(self) -> int:
        """How many of those that the form keeps folded up hold."""
        return sum(one.chosen and bool(one.value) for group in self[2:] for one in group)


def read(fields: Iterable[tuple[str, str]]) -> Asked:
    """Fields of the same name are one list; empty ones, which forms send, and unknown ones do not count."""
    given: dict[str, list[str]] = {}
    for name, value in fields:
        if value.strip():
            given.setdefault(name, []).append(value.strip())
    found: dict[str, Any] = {}
    wrong = []
    for name, kind in _TYPES.items():
        if name in given:
            value = ",".join(given[name]) if name in _LISTS else given[name][-1]
            try:
                found[name] = msgspec.convert(value, kind, strict=False)
            except msgspec.ValidationError as error:
                wrong.append(f'{name}: "{value[:60]}" does not count: {_said(error)}.')
    fmt: Format = "cards" if given.get("fmt", [""])[-1] == "cards" else "table"
    try:
        offset = int(msgspec.convert(given.get("offset", ["0"])[-1], _OFFSET, strict=False))
    except msgspec.ValidationError as error:
        offset = 0
        wrong.append(f"offset: {_said(error)}.")
    return Asked(ModelQuery(**found), fmt, offset, tuple(wrong))


def address_of(asked: Asked, **changes: Any) -> str:
    """The shortest address that asks for this, with some fields changed."""
    fields = msgspec.structs.asdict(asked.query)
    fields |= {"fmt": None if asked.fmt == "table" else asked.fmt, "offset": asked.offset or None}
    return address(PATH, **(fields | changes))


def chips(asked: Asked, catalog: Catalog) -> Iterator[Chip]:
    """Every filter that holds; of lists each word by itself."""
    names = {provider.slug: provider.name for provider in catalog.providers}
    for name, value in msgspec.structs.asdict(asked.query).items():
        if value is None or name == "sort" or (name == "zdr" and value != "true"):
            continue
        if name in _LISTS:
            several = words(value)
            for word in several:
                left = ",".join(one for one in several if one != word)
                yield Chip(_NAMES[name], names.get(word, word), address_of(asked, offset=None, **{name: left}))
        else:
            yield Chip(_NAMES[name], _told(name, value), address_of(asked, offset=None, **{name: None}))


def choices(asked: Asked, catalog: Catalog) -> Choices:
    """What is offered is what the catalog has; what was asked for beside it is offered, too."""
    query, models = asked.query, catalog.models
    sorts, context = dict(SORTS), query.context
    if query.sort is not None:
        sorts.setdefault(query.sort, "As the catalog lists them")
    steps = sorted({*_CONTEXTS, *([] if context is None else [context])})
    authors = {model.author: model.author for model in models}
    parameters = {name: name for model in models for name in model.supported_parameters}
    return Choices(
        tuple(Choice(value, title, value == query.sort) for value, title in sorts.items()),
        tuple(Choice(str(step), f"{compact(step)} and more", step == context) for step in steps),
        _boxes({"text": "Text"}, query.input_modalities),
        _boxes({"embeddings": "Embeddings"}, query.output_modalities),
        _boxes(dict(sorted(authors.items())), query.model_authors),
        _boxes({one.slug: one.name for one in catalog.providers}, query.providers),
        _boxes(dict(sorted(parameters.items())), query.supported_parameters),
    )


def _boxes(offered: dict[str, str], csv: str | None) -> tuple[Choice, ...]:
    chosen = words(csv)
    every = {**{word: word for word in chosen if word not in offered}, **offered}
    return tuple(Choice(value, title, value in chosen) for value, title in every.items())


def _told(name: str, value: Any) -> str:
    match name:
        case "context":
            return f"{compact(value)} tokens and more"
        case "min_price":
            return f"from ${value:g} / M tokens"
        case "max_price":
            return f"up to ${value:g} / M tokens"
        case "zdr":
            return "zero retention"
    return str(value)


def _said(error: msgspec.ValidationError) -> str:
    """msgspec's words without its marks: "Expected `int` >= 0"."""
    return str(error).replace("`", "").replace("Expected", "expected")
