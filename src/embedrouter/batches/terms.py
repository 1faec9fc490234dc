"""What is said of a batch around its requests, which may come after them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import update

from embedrouter.batches.parsing import Outside
from embedrouter.store import Batch
from embedrouter.store.batch_tables import batches


class Terms(NamedTuple):
    """Columns of `batches`."""

    job_id: str
    provider_json: str | None
    callback_url: str | None
    metadata_json: str | None


def terms_of(job_id: str, outside: Outside) -> Terms:
    """Those that a body states."""
    return Terms(job_id, json_of(outside.provider), outside.callback_url, json_of(outside.metadata))


def set_terms(batch: Batch, wanted: Sequence[Terms]) -> Sequence[None]:
    """The writer's handler; for jobs that are `validating`."""
    for one in wanted:
        values = {name: value for name, value in one._asdict().items() if name != "job_id"}
        batch.connection.execute(update(batches).where(batches.c.id == one.job_id).values(values))
    return [None] * len(wanted)


class Naming(NamedTuple):
    """The model that all lines of a batch name."""

    job_id: str
    model: str


def name_model(batch: Batch, wanted: Sequence[Naming]) -> Sequence[None]:
    """The writer's handler; for jobs that are `validating`."""
    for one in wanted:
        batch.connection.execute(update(batches).where(batches.c.id == one.job_id).values(model=one.model))
    return [None] * len(wanted)


def json_of(value: object) -> str | None:
    """As it is kept."""
    return None if value is None else msgspec.json.encode(value).decode()
