"""Which name means which model: slugs, canonical slugs, aliases of models, and the operator's own aliases."""

from collections.abc import Mapping
from typing import NamedTuple

from embedrouter.catalog.entries import ModelEntry, Stated
from embedrouter.catalog.models import Model
from embedrouter.errors import CatalogProblem, nearest


class Names(NamedTuple):
    """Every name names one model."""

    aliases: Mapping[str, str]  # alias: slug
    taken: Mapping[str, str]  # shipped models whose name the operator gave to another: slug of the other
    problems: tuple[CatalogProblem, ...]


def names(builtin: Model, models: Mapping[str, Stated], aliases: Mapping[str, str]) -> Names:
    """models: by slug, hidden ones left out. aliases: the operator's and the built-in model's.

    An alias may take the name of a shipped model, which is then not served: the operator says so, and a credential that
    comes later must not make it an error.
    """
    owners, problems = _owners(builtin, models)
    wanted = {alias.lower(): target.lower() for alias, target in aliases.items()}
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for alias in wanted:
        where = f'the alias "{alias[:100]}" of model_aliases'
        slug = _end(alias, wanted, owners)
        if slug is None:
            target = wanted[alias][:100]
            told = f'names an unknown model "{target}"{nearest(target, list(owners))}'
            problems.append(CatalogProblem(where, "", told))
            continue
        found[alias] = slug
        owner = owners.get(alias, slug)
        if owner != slug and owner in models and models[owner].source == "shipped":
            taken[owner] = slug
        elif owner != slug:
            problems.append(CatalogProblem(where, "", f"is already the name of another model, {owner}"))
    for slug, stated in models.items():
        if isinstance(stated.entry, ModelEntry):
            found |= {name.lower(): slug for name in stated.entry.aliases if name.lower() not in found}
    return Names(found, taken, tuple(problems))


def _owners(builtin: Model, models: Mapping[str, Stated]) -> tuple[dict[str, str], list[CatalogProblem]]:
    """Which model each name belongs to. Slugs come first: no alias can take one."""
    owners = {builtin.slug: builtin.slug, builtin.canonical_slug: builtin.slug}
    problems = []
    entries = [(slug, stated, stated.entry) for slug, stated in models.items() if isinstance(stated.entry, ModelEntry)]
    claims = [(slug, stated, "slug", slug) for slug, stated, _ in entries]
    claims += [(slug, stated, "canonical_slug", entry.canonical_slug or slug) for slug, stated, entry in entries]
    claims += [(slug, stated, "aliases", name) for slug, stated, entry in entries for name in entry.aliases]
    for slug, stated, field, name in claims:
        owner = owners.setdefault(name.lower(), slug)
        if owner != slug:
            problems.append(CatalogProblem(stated.title, field, f'"{name[:100]}" is a name of {owner} already'))
    return owners, problems


def _end(alias: str, aliases: Mapping[str, str], owners: Mapping[str, str]) -> str | None:
    """The slug that an alias comes to, over other aliases; None for one that comes to nothing."""
    seen = {alias}
    target = aliases[alias]
    while target in aliases and target not in seen:
        seen.add(target)
        target = aliases[target]
    return owners.get(target)
