"""Workspaces: what one may say, made and changed; and what it may spend."""

import uuid
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts import workspaces
from embedrouter.accounts.workspaces import SLUG, NewWorkspace, Preferences, Sort, Workspace, WorkspaceChange
from embedrouter.context import Context
from embedrouter.fields import plain, plain_lines, sent
from embedrouter.ledger.book import now

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Slug = Annotated[str, Meta(min_length=1, max_length=50, pattern=SLUG)]
Description = Annotated[str, Meta(max_length=500)]
ModelName = Annotated[str, Meta(max_length=200)]

_PREFERENCES: Final = ("description", "default_provider_sort", "default_text_model", "default_image_model")
_COLUMNS: Final = ("name", "slug", "in_rankings")


class CreateWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /workspaces."""

    name: Name
    slug: Slug
    description: Description | None = None
    default_provider_sort: Sort | None = None
    default_text_model: ModelName | None = None
    default_image_model: ModelName | None = None
    in_rankings: bool | None = None  # beyond OpenRouter


class UpdateWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """The body of PATCH /workspaces/{id}: what is left out stays; null removes."""

    name: Name | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    default_provider_sort: Sort | UnsetType | None = UNSET
    default_text_model: ModelName | UnsetType | None = UNSET
    default_image_model: ModelName | UnsetType | None = UNSET
    in_rankings: bool | UnsetType = UNSET  # beyond OpenRouter


async def create(context: Context, wanted: CreateWorkspace, by: str | None) -> Workspace:
    """by: a user's id."""
    given = _texts({name: getattr(wanted, name) for name in _PREFERENCES})
    made = await context.writer.write(
        workspaces.create,
        NewWorkspace(
            id=str(uuid.uuid4()),
            name=plain("name", wanted.name),
            slug=wanted.slug,
            in_rankings=wanted.in_rankings is not False,
            preferences=Preferences(created_by=by, **given),
            at=now(),
        ),
    )
    await context.refresh()
    return made


async def change(context: Context, ref: str, wanted: UpdateWorkspace) -> Workspace:
    """Holds from the next request on; in other processes on the same database within 2 s. ref: its id or slug."""
    given = _texts(sent(wanted))
    columns: dict[str, Any] = {name: given.pop(name) for name in _COLUMNS if name in given}
    changed = await context.writer.write(workspaces.change, WorkspaceChange(ref, now(), columns, given))
    await context.refresh()
    return changed


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    """The same, once every text in it is one without control characters; a description may have lines."""
    for name, value in values.items():
        if isinstance(value, str) and value:
            (plain_lines if name == "description" else plain)(name, value)
    return values
