"""The catalog as administrators state it: tried, stated and taken back. What is wrong is told whole."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from embedrouter.catalog.entries import SECTIONS, Kind, ProviderEntry, Stated, body_of, sheet, state
from embedrouter.catalog.load import Listed, destination
from embedrouter.context import Context
from embedrouter.errors import CatalogError, CatalogProblem, ConflictError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.store.entries import Change, Edit, Row, edit

_HERE: Final = "in this request"


class Verdict(NamedTuple):
    """What would become of a change. models: those that would be served; none where something is wrong."""

    problems: tuple[CatalogProblem, ...]
    models: tuple[str, ...]
    stated: tuple[Stated, ...]  # what could be read


def rows(context: Context) -> dict[tuple[str, str], Row]:
    """What the database states, by kind and key."""
    return {(row.kind, row.slug): row for row in context.catalog.snapshot.rows}


def find(context: Context, kind: Kind, key: str) -> Listed:
    """An entry of the merged catalog, served or not. Raises NotFoundError."""
    for one in context.catalog.loaded.listed:
        if (one.kind, one.key) == (kind, key):
            return one
    section = next(name for name, of in SECTIONS.items() if of == kind)
    raise NotFoundError(f'the catalog has no {kind} "{key[:200]}"; GET /catalog lists its {section}')


async def attempt(context: Context, document: Mapping[str, Any]) -> Verdict:
    """What would become of these entries in the database. Nothing changes."""
    return await asyncio.to_thread(_attempt, context, document)


async def put(context: Context, kind: Kind, item: Any, by: str) -> str:
    """State one entry, or that it is hidden; its key. Holds at once, elsewhere within 2 s.

    Raises CatalogError, ConflictError.
    """
    read = state(kind, item, "database", _HERE)
    if isinstance(read, CatalogProblem):
        raise CatalogError([read])
    await _state(context, [read], by)
    return read.key


async def put_all(context: Context, document: Mapping[str, Any], by: str) -> tuple[Stated, ...]:
    """State all entries of a document, or none. As `put`."""
    read = sheet(document, "database", _HERE)
    if read.problems:
        raise CatalogError(read.problems)
    if read.stated:
        await _state(context, read.stated, by)
    return read.stated


async def take_back(context: Context, kind: Kind, key: str, by: str) -> Listed | None:
    """What the database states of an entry is gone; what holds instead. Raises NotFoundError, CatalogError."""
    if (kind, key) not in rows(context):
        held = _listed(context, kind, key)
        if held is not None:
            raise NotFoundError(
                f'the database states nothing of the {kind} "{key[:200]}"; to hide it, PUT {{"removed": true}}'
            )
    if kind == "provider":
        _keep_credentials_home(context, key, None)
    await _edited(context, [Change(kind, key, None)], by)
    return _listed(context, kind, key)


async def _state(context: Context, stated: Sequence[Stated], by: str) -> None:
    for one in stated:
        if isinstance(one.entry, ProviderEntry):
            _keep_credentials_home(context, one.key, one.entry)
    await _edited(context, [Change(one.kind, one.key, body_of(one)) for one in stated], by)


def _listed(context: Context, kind: Kind, key: str) -> Listed | None:
    return next((one for one in context.catalog.loaded.listed if (one.kind, one.key) == (kind, key)), None)


def _keep_credentials_home(context: Context, slug: str, entry: ProviderEntry | None) -> None:
    """Raise ConflictError for an address that stored credentials were not given for: they would be sent there.

    entry: what is to hold; None: what was stated before it, which may be another address.
    """
    if not context.credentials.stored(slug):
        return
    now_there = next((one for one in context.catalog.loaded.providers if one.slug == slug), None)
    if now_there is None or entry is None or destination(entry) != destination(now_there):
        raise ConflictError(
            f'"{slug}" has stored credentials, which would go to another address; remove them first (GET /byok lists '
            f"them), or give the new address a provider of its own",
            metadata={"field": "base_url"},
        )


async def _edited(context: Context, changes: Sequence[Change], by: str) -> None:
    """In the writer's thread, since the catalog is made anew to judge it."""
    wanted = Edit(tuple(changes), now(), by, context.catalog.judge)
    await asyncio.wrap_future(context.writer.submit(edit, wanted))
    await asyncio.to_thread(context.catalog.reload)


def _attempt(context: Context, document: Mapping[str, Any]) -> Verdict:
    before = context.catalog.snapshot.rows
    read = sheet(document, "database", _HERE)
    after = {(row.kind, row.slug): row for row in before}
    for one in read.stated:
        after[one.kind, one.key] = _row(one)
    problems = list(read.problems)
    models: tuple[str, ...] = ()
    try:
        context.catalog.judge(before, tuple(after.values()))
        models = tuple(model.slug for model in context.catalog.attempt(after.values()).catalog.models)
    except CatalogError as error:
        problems += error.problems
    told = tuple(dict.fromkeys(problems))
    return Verdict(told, () if told else models, read.stated)


def _row(stated: Stated) -> Row:
    return Row(stated.kind, stated.key, body_of(stated), 0, "")
