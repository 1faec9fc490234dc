"""Presets: named settings of requests, in versions of which the newest counts. All of them in memory."""

import re
import threading
import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Select, delete, func, insert, select

from embedrouter.accounts import marks
from embedrouter.errors import EmbedRouterError, InvalidRequestError, NotFoundError
from embedrouter.store import Batch, Database
from embedrouter.store.tables import preset_versions, workspaces

SLUG: Final = "^[a-z0-9]+(-[a-z0-9]+)*$"
LONGEST: Final = 100  # characters of a slug
_SLUG: Final = re.compile(SLUG)
_MOST: Final = 1_000  # versions of one


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The column `body`."""

    name: str
    description: str | None
    config: msgspec.Raw  # JSON, for who makes requests of it


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A preset in one of its versions. Times are microseconds."""

    id: str  # the same for all versions
    workspace_id: str
    slug: str
    version: int
    name: str
    description: str | None
    config: bytes  # JSON
    created_by: str
    created_at: int  # of the version

    @property
    def version_id(self) -> str:
        """Of the version."""
        return str(uuid.uuid5(uuid.UUID(self.id), f"version {self.version}"))


class NewVersion(NamedTuple):
    """What to make. An id for the case that it is the first one."""

    id: str
    workspace_id: str
    slug: str
    name: str | None  # None: as before, or the slug
    description: str | None  # None: as before
    config: bytes  # JSON
    by: str
    at: int


class Of(NamedTuple):
    """A preset of a workspace."""

    workspace_id: str
    slug: str


class Named(NamedTuple):
    """A preset, and when it was made first."""

    preset: Preset
    created_at: int


class PresetShelf:
    """The newest version of every preset. Thread-safe: readers see whole structs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._presets: dict[Of, Preset] = {}
        self._revision = -1
        self._loading = threading.Lock()  # what was read first is taken in first

    def load(self) -> None:
        """Take in what changed since the last time, also by other processes. Raises StoreUnavailableError."""
        with self._loading:
            revision, found = self._database.read_now(self._changes)
            if found is not None:
                self._presets = found
            self._revision = revision

    def find(self, of: Of) -> Preset | None:
        """The newest version."""
        return self._presets.get(of)

    def _changes(self, connection: Connection) -> tuple[int, dict[Of, Preset] | None]:
        revision = marks.value(connection, marks.PRESETS)
        if revision == self._revision:
            return revision, None
        found = [_preset(row) for row in connection.execute(_newest())]
        return revision, {Of(one.workspace_id, one.slug): one for one in found}


def create(batch: Batch, wanted: Sequence[NewVersion]) -> Sequence[Preset | Exception]:
    """The writer's handler: makes presets, or new versions of those that are there."""
    return [_create(batch, one) for one in wanted]


def remove(batch: Batch, presets: Sequence[Of]) -> Sequence[EmbedRouterError | None]:
    """The writer's handler: deletes presets with all their versions."""
    return [_remove(batch, one) for one in presets]


def find(connection: Connection, of: Of) -> Named:
    """The newest version. Raises NotFoundError."""
    found = versions(connection, of, 1, 0)
    query = _newest().where(preset_versions.c.workspace_id == of.workspace_id, preset_versions.c.slug == of.slug)
    return Named(_preset(connection.execute(query).one()), found[0].created_at)


def find_version(connection: Connection, of: Of, version: int) -> Preset:
    """One version. Raises NotFoundError."""
    row = connection.execute(_versions(of).where(preset_versions.c.version == version)).one_or_none()
    if row is None:
        raise NotFoundError(f'the preset "{of.slug[:LONGEST]}" has no such version', metadata={"field": "version"})
    return _preset(row)


def list_presets(connection: Connection, workspace_id: str, limit: int, offset: int) -> list[Named]:
    """A workspace's, the last changed first."""
    first = preset_versions.alias()
    query = _newest().add_columns(first.c.created_at.label("made_at"))
    query = query.where(
        preset_versions.c.workspace_id == workspace_id,
        first.c.workspace_id == preset_versions.c.workspace_id,
        first.c.slug == preset_versions.c.slug,
        first.c.version == 1,
    )
    query = query.order_by(preset_versions.c.created_at.desc(), preset_versions.c.slug).limit(limit).offset(offset)
    return [Named(_preset(row), row.made_at) for row in connection.execute(query)]


def count(connection: Connection, workspace_id: str) -> int:
    """Of a workspace's presets."""
    query = select(func.count(preset_versions.c.slug.distinct())).where(preset_versions.c.workspace_id == workspace_id)
    return int(connection.execute(query).scalar_one())


def versions(connection: Connection, of: Of, limit: int, offset: int) -> list[Preset]:
    """The oldest first. Raises NotFoundError if there is no such preset."""
    require(connection, of)
    query = _versions(of).order_by(preset_versions.c.version).limit(limit).offset(offset)
    return [_preset(row) for row in connection.execute(query)]


def require(connection: Connection, of: Of) -> int:
    """How many versions there are. Raises NotFoundError."""
    there = 0
    if _SLUG.fullmatch(of.slug) and len(of.slug) <= LONGEST:
        query = select(func.count()).where(
            preset_versions.c.workspace_id == of.workspace_id, preset_versions.c.slug == of.slug
        )
        there = int(connection.execute(query).scalar_one())
    if not there:
        raise unknown(of.slug)
    return there


def unknown(slug: str) -> NotFoundError:
    """There is no such preset in the key's workspace."""
    return NotFoundError(
        f'no preset of this workspace has the slug "{slug[:LONGEST]}"; GET /api/v1/presets lists them',
        metadata={"field": "preset"},
    )


def _create(batch: Batch, wanted: NewVersion) -> Preset | Exception:
    connection = batch.connection
    of = Of(wanted.workspace_id, wanted.slug)
    row = connection.execute(_versions(of).order_by(preset_versions.c.version.desc()).limit(1)).one_or_none()
    last = None if row is None else _preset(row)
    if batch.again and last is not None and last.created_at == wanted.at and last.config == wanted.config:
        return last
    if (
        last is None
        and not connection.execute(select(workspaces.c.id).where(workspaces.c.id == wanted.workspace_id)).first()
    ):
        return InvalidRequestError("workspace_id: no such workspace", metadata={"field": "workspace_id"})
    if last is not None and last.version >= _MOST:
        return InvalidRequestError(f"a preset has at most {_MOST:,} versions; delete it and make it anew")
    body = Body(
        name=wanted.name or (last.name if last else wanted.slug),
        description=wanted.description if wanted.description is not None or last is None else last.description,
        config=msgspec.Raw(wanted.config),
    )
    values = {
        "workspace_id": wanted.workspace_id,
        "slug": wanted.slug,
        "version": 1 if last is None else last.version + 1,
        "preset_id": wanted.id if last is None else last.id,
        "body": msgspec.json.encode(body).decode(),
        "created_by": wanted.by,
        "created_at": wanted.at,
    }
    made = connection.execute(insert(preset_versions).values(values).returning(preset_versions)).one()
    marks.grow(batch, marks.PRESETS)
    return _preset(made)


def _remove(batch: Batch, of: Of) -> EmbedRouterError | None:
    gone = batch.connection.execute(
        delete(preset_versions).where(
            preset_versions.c.workspace_id == of.workspace_id, preset_versions.c.slug == of.slug
        )
    )
    if gone.rowcount == 0 and not batch.again:
        return unknown(of.slug)
    marks.grow(batch, marks.PRESETS)
    return None


def _versions(of: Of) -> Select[tuple[object, ...]]:
    return select(preset_versions).where(
        preset_versions.c.workspace_id == of.workspace_id, preset_versions.c.slug == of.slug
    )


def _newest() -> Select[tuple[object, ...]]:
    """The newest version of each preset."""
    last = (
        select(
            preset_versions.c.workspace_id,
            preset_versions.c.slug,
            func.max(preset_versions.c.version).label("version"),
        )
        .group_by(preset_versions.c.workspace_id, preset_versions.c.slug)
        .subquery()
    )
    return select(preset_versions).join(
        last,
        (last.c.workspace_id == preset_versions.c.workspace_id)
        & (last.c.slug == preset_versions.c.slug)
        & (last.c.version == preset_versions.c.version),
    )


_BODY: Final = msgspec.json.Decoder(Body)


def _preset(row: Row[tuple[object, ...]]) -> Preset:
    body = _BODY.decode(row.body)
    return Preset(
        id=row.preset_id,
        workspace_id=row.workspace_id,
        slug=row.slug,
        version=row.version,
        name=body.name,
        description=body.description,
        config=bytes(body.config),
        created_by=row.created_by,
        created_at=row.created_at,
    )
