"""The work cut into shards: rows of an input that are embedded into one file, each by itself and in any order."""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.formats import Place, SourceFormat, TargetFormat, VectorsType
from embedrouter.bulk.source import Span
from embedrouter.bulk.storage import Identity

SHARD_ROWS = 16_384  # 24 MiB of vectors at 384 dimensions: seconds of work, which is what a crash costs
MAX_SHARDS = 100_000
_SUFFIXES: dict[TargetFormat, str] = {"parquet": ".parquet", "jsonl": ".jsonl", "npy": ".f32"}


class Shard(msgspec.Struct, frozen=True):
    """A span of one input."""

    number: int  # from 0, through all inputs
    file: int  # index of the input
    span: Span

    @property
    def rows(self) -> int:
        """Rows of the input, also those that are left out."""
        return self.span.rows


class Done(msgspec.Struct, frozen=True):
    """A shard that lies in its file, on disk."""

    number: int
    rows: int  # written
    skipped: int  # rows without a text
    size: int  # bytes of the file
    sha256: str


class Choices(msgspec.Struct, frozen=True):
    """The options that decide what is written: one run and the run that resumes it have the same."""

    column: str | None
    input_format: SourceFormat
    output_format: TargetFormat
    gzip: bool  # the output's
    vector_column: str
    vectors_type: VectorsType
    truncate: bool | None
    shard_rows: int


class Plan(msgspec.Struct, frozen=True):
    """All there is to do, as the manifest keeps it."""

    version: int
    inputs: tuple[Identity, ...]
    choices: Choices
    model: str  # its fingerprint
    dimensions: int
    column: str  # that is embedded
    schema: bytes | None  # the input's columns, as Arrow writes a schema; only Parquet needs them beforehand
    shards: tuple[Shard, ...]

    def arrow_schema(self) -> pa.Schema | None:
        """The input's columns."""
        return None if self.schema is None else pa.ipc.read_schema(pa.py_buffer(self.schema))


class Work(msgspec.Struct, frozen=True):
    """A plan, and where its files are on this machine. It can be pickled: other processes embed shards by it."""

    plan: Plan
    files: tuple[Place[SourceFormat], ...]  # one an input
    folder: str  # location of the shards' files and of the manifest
    batch_rows: int = 4096
    on_empty: OnEmpty = "error"
    dedupe: bool = False  # within a window; who embeds all shards in order can do better


def shard_name(plan: Plan, number: int) -> str:
    """The name of a shard's file."""
    suffix = _SUFFIXES[plan.choices.output_format] + (".gz" if plan.choices.gzip else "")
    return f"part-{number:05}{suffix}"


def numbered(spans: Sequence[Sequence[Span]]) -> tuple[Shard, ...]:
    """The shards of all inputs: spans[i] are those of input i."""
    flat = [(file, span) for file, some in enumerate(spans) for span in some]
    return tuple(Shard(number, file, span) for number, (file, span) in enumerate(flat))
