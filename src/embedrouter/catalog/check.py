"""What is wrong with single entries: pure functions that yield a field and what would be right."""

import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Final

from embedrouter.catalog.entries import EndpointEntry, Entry, ModelEntry, ProviderEntry
from embedrouter.errors import nearest

Fault = tuple[str, str]  # field, message

DEAREST: Final = 1_000  # USD for a million tokens; far more than anybody asks, so that no sum overflows

_PROVIDER: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PART: Final = r"[a-z0-9](?:[a-z0-9._-]{0,58}[a-z0-9])?"
_MODEL: Final = re.compile(f"{_PART}/{_PART}")
_VARIANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?")
_PRICE: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", re.ASCII)
_OPTION: Final = re.compile(r"\{([^{}]*)\}")
_URL: Final = re.compile(r"(https?)://[A-Za-z0-9.\[\]:_-]+(?:/[A-Za-z0-9._~%@:+-]*)*")
_LINK: Final = re.compile(r"https://[!-~]+")
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,99}", re.ASCII)
_ALIAS: Final = re.compile(r"[!-~]{1,120}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)


def faults(entry: Entry, wires: Collection[str]) -> Iterator[Fault]:
    """Of an entry by itself. wires: names of the wire formats."""
    match entry:
        case ProviderEntry():
            yield from _of_provider(entry, wires)
        case ModelEntry():
            yield from _of_model(entry)
        case EndpointEntry():
            yield from _of_endpoint(entry)


def pico_per_token(price_per_million: str) -> int:
    """Pico-USD for a token: a USD for a million tokens is 10^6 of them."""
    return int(Decimal(price_per_million) * 1_000_000)


def empty_options(entry: ProviderEntry) -> list[str]:
    """What its base_url still needs to know."""
    return [name for name in _OPTION.findall(entry.base_url or "") if not entry.options.get(name)]


def _of_provider(entry: ProviderEntry, wires: Collection[str]) -> Iterator[Fault]:
    if not _PROVIDER.fullmatch(entry.slug):
        yield "slug", "must be 1 to 40 lower-case letters, digits and -"
    yield from _name("name", entry.name)
    if entry.wire not in wires:
        known = sorted(wires)
        yield "wire", f"must be one of {', '.join(known)} (got {entry.wire[:40]!r}){nearest(entry.wire, known)}"
    if entry.base_url is not None:
        yield from _of_url(entry, entry.base_url)
    used = set(_OPTION.findall(entry.base_url or ""))
    for name, value in entry.options.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            yield f"options.{name[:40]}", "its name must be 1 to 40 lower-case letters, digits and _"
        elif not re.fullmatch(r"[A-Za-z0-9._-]*" if name in used else r"[ -~]*", value):
            yield (
                f"options.{name}",
                "must be letters, digits, ., _ and -" if name in used else "must be printable ASCII",
            )
    variable = entry.credential_env
    if variable is not None and (not _VARIABLE.fullmatch(variable) or variable.startswith("EMBEDROUTER_")):
        yield (
            "credential_env",
            "must name an environment variable, such as OPENAI_API_KEY, and none of embedrouter's own",
        )
    for field in ("privacy_policy_url", "terms_of_service_url", "status_page_url"):
        link = getattr(entry, field)
        if link is not None and not _LINK.fullmatch(link):
            yield field, "must begin with https://"
    for field, codes in (("headquarters", (entry.headquarters,)), ("datacenters", entry.datacenters or ())):
        if any(code is not None and not _COUNTRY.fullmatch(code) for code in codes):
            yield field, "must be country codes of two capital letters, such as US"


def _of_url(entry: ProviderEntry, url: str) -> Iterator[Fault]:
    names = _OPTION.findall(url)
    for name in names:
        if name not in entry.options:
            hint = nearest(name, list(entry.options))
            yield "base_url", f"has {{{name[:40]}}}, which is not among its options; add options.{name[:40]}{hint}"
    whole = _URL.fullmatch(_OPTION.sub("x", url))
    if whole is None:
        yield "base_url", "must look like https://host/path, with nothing behind the path and no password"
    elif whole[1] == "http" and not entry.allow_private:
        yield "base_url", "must begin with https://; http:// only where allow_private is true"


def _of_model(entry: ModelEntry) -> Iterator[Fault]:
    for field, slug in (("slug", entry.slug), ("canonical_slug", entry.canonical_slug or entry.slug)):
        if not _MODEL.fullmatch(slug) or len(slug) > 100:
            yield field, "must be author/name in lower-case letters, digits, ., _ and -, at most 100 characters"
    yield from _name("name", entry.name)
    if not entry.description.isprintable() and not entry.description.replace("\n", " ").isprintable():
        yield "description", "must be a text without control characters"
    for field, text in (("revision", entry.revision), ("pooling", entry.pooling)):
        yield from _name(field, text)
    for alias in entry.aliases:
        if not _ALIAS.fullmatch(alias):
            yield "aliases", f"must be 1 to 120 printable ASCII characters without a space (got {alias[:40]!r})"


def _of_endpoint(entry: EndpointEntry) -> Iterator[Fault]:
    provider, slash, variant = entry.exact_tag.partition("/")
    if provider != entry.provider or (slash and not _VARIANT.fullmatch(variant)):
        yield "tag", f'must be "{entry.provider[:40]}" or "{entry.provider[:40]}/variant", in lower case'
    if not entry.upstream_model or not entry.upstream_model.isprintable():
        yield "upstream_model", "must be what the provider calls the model"
    yield from _name("region", entry.region or "")
    for name in entry.supported_parameters:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            yield "supported_parameters", f"must be names of parameters (got {name[:40]!r})"
    if not _PRICE.fullmatch(entry.price_per_million):
        yield "price_per_million", 'must be USD for a million tokens with at most 6 decimals, 0 or more: "0.02"'
    elif Decimal(entry.price_per_million) >= DEAREST:
        yield "price_per_million", f"must be less than {DEAREST} USD for a million tokens"


def _name(field: str, text: str) -> Iterator[Fault]:
    if not text.isprintable() or text != text.strip():
        yield field, "must be a text without control characters and spaces around it"
