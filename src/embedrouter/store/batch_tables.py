"""The tables of batches and files: what is asked for now and computed later. Units as in `tables`."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from embedrouter.store.tables import metadata

__all__ = ["batch_lines", "batches", "file_parts", "files", "metadata"]

batches: Final = Table(
    "batches",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key_id", Integer, nullable=False),
    Column("workspace_id", String(36), nullable=False),
    Column("owner_id", String(40)),
    Column("form", String(12), nullable=False),  # openrouter, openai
    Column("endpoint", String(40), nullable=False),
    Column("model", String(200)),  # null: each line names its own
    Column("completion_window", String(16), nullable=False),
    Column("provider_json", Text),
    Column("callback_url", Text),
    Column("metadata_json", Text),
    Column("input_file_id", String(40)),
    Column("status", String(16), nullable=False),
    Column("error", Text),  # JSON: code, message, line
    Column("created_at", BigInteger, nullable=False),
    Column("in_progress_at", BigInteger),
    Column("finalizing_at", BigInteger),
    Column("finalized_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),  # the end of its completion window
    Column("cancelling_at", BigInteger),
    Column("total", Integer, nullable=False),  # lines
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # of its lines as sent
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("touched_at", BigInteger, nullable=False),  # when lines were added last
    Column("lease_owner", String(32)),  # the process that works on it
    Column("lease_until", BigInteger),
    Column("callback_due", BigInteger),  # null: nobody is to be called, or was
    Column("callback_tries", Integer, nullable=False),
    Index("ix_batches_workspace_id_created_at", "workspace_id", "created_at"),
    Index("ix_batches_status", "status"),
    Index("ix_batches_callback_due", "callback_due"),
    Index("ix_batches_created_at", "created_at"),  # for retention
)

# A line that waits has its body, one that is done has its vectors: what was sent is kept no longer than it is needed.
batch_lines: Final = Table(
    "batch_lines",
    metadata,
    Column("batch_id", String(40), ForeignKey("batches.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 0, in the order they were sent
    Column("custom_id", String(512), nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON as sent; empty once it is done
    Column("status", String(8), nullable=False),  # pending, done, failed
    Column("status_code", Integer),  # HTTP; null: it waits, or was never asked
    Column("error_json", Text),
    Column("generation_id", String(64)),
    Column("request_id", String(128)),
    Column("tokens", BigInteger),
    Column("vectors", LargeBinary),  # float32, little-endian, (n, dimensions)
    Column("dimensions", Integer),
    Column("encoding_format", String(8)),  # float, base64
    PrimaryKeyConstraint("batch_id", "number"),
    UniqueConstraint("batch_id", "custom_id"),
)

files: Final = Table(
    "files",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key_id", Integer, nullable=False),
    Column("workspace_id", String(36), nullable=False),
    Column("owner_id", String(40)),
    Column("filename", String(255), nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),  # uploading, uploaded
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index("ix_files_workspace_id_created_at", "workspace_id", "created_at"),
    Index("ix_files_created_at", "created_at"),  # for retention
)

file_parts: Final = Table(
    "file_parts",
    metadata,
    Column("file_id", String(40), ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 0
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("file_id", "number"),
)
