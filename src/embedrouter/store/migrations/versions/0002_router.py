"""The router: catalog, credentials, private endpoints, guardrails, presets, health; batches and files."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From 0001."""
    op.create_table(
        "app_days",
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("app_id", sa.Integer(), nullable=False),
        sa.Column("model_permaslug", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "app_id", "model_permaslug", name=op.f("pk_app_days")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_app_days_app_id_bucket", "app_days", ["app_id", "bucket"], unique=False)
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=True),
        sa.Column("form", sa.String(length=12), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("completion_window", sa.String(length=16), nullable=False),
        sa.Column("provider_json", sa.Text(), nullable=True),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("metadata_json", sa.Text(), nullable=True),
        sa.Column("input_file_id", sa.String(length=40), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("in_progress_at", sa.BigInteger(), nullable=True),
        sa.Column("finalizing_at", sa.BigInteger(), nullable=True),
        sa.Column("finalized_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("cancelling_at", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=32), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("callback_due", sa.BigInteger(), nullable=True),
        sa.Column("callback_tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_callback_due", "batches", ["callback_due"], unique=False)
    op.create_index("ix_batches_created_at", "batches", ["created_at"], unique=False)
    op.create_index("ix_batches_status", "batches", ["status"], unique=False)
    op.create_index("ix_batches_workspace_id_created_at", "batches", ["workspace_id", "created_at"], unique=False)
    op.create_table(
        "catalog_entries",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("slug", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("kind", "slug", name=op.f("pk_catalog_entries")),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=True),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("ix_files_created_at", "files", ["created_at"], unique=False)
    op.create_index("ix_files_workspace_id_created_at", "files", ["workspace_id", "created_at"], unique=False)
    op.create_table(
        "health_histograms",
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("measure", sa.String(length=12), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "minute", "measure", "bucket", name=op.f("pk_health_histograms")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_health_histograms_minute", "health_histograms", ["minute"], unique=False)
    op.create_table(
        "health_minutes",
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("rate_limited", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "minute", name=op.f("pk_health_minutes")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_health_minutes_failing_minute",
        "health_minutes",
        ["minute"],
        unique=False,
        sqlite_where=sa.text("failures > 0 OR rate_limited > 0"),
        postgresql_where=sa.text("failures > 0 OR rate_limited > 0"),
    )
    op.create_index("ix_health_minutes_minute", "health_minutes", ["minute"], unique=False)
    op.create_table(
        "health_pauses",
        sa.Column("subject", sa.String(length=240), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_health_pauses")),
    )
    op.create_table(
        "model_days",
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("model_permaslug", sa.String(length=200), nullable=False),
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("provider_name", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=False),
        sa.Column("cache_hits", sa.BigInteger(), nullable=False),
        sa.Column("rerouted", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("byok_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "model_permaslug", "endpoint", "public", name=op.f("pk_model_days")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_hours",
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("model_permaslug", sa.String(length=200), nullable=False),
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("provider_name", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=False),
        sa.Column("cache_hits", sa.BigInteger(), nullable=False),
        sa.Column("rerouted", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("byok_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "model_permaslug", "endpoint", "public", name=op.f("pk_model_hours")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_days",
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("of", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("cache_hits", sa.BigInteger(), nullable=False),
        sa.Column("inputs", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("split", "bucket", "key_id", "of", name=op.f("pk_usage_days")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "batch_lines",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("custom_id", sa.String(length=512), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error_json", sa.Text(), nullable=True),
        sa.Column("generation_id", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("vectors", sa.LargeBinary(), nullable=True),
        sa.Column("dimensions", sa.Integer(), nullable=True),
        sa.Column("encoding_format", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_lines_batch_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "number", name=op.f("pk_batch_lines")),
        sa.UniqueConstraint("batch_id", "custom_id", name=op.f("uq_batch_lines_batch_id_custom_id")),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("provider", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("is_fallback", sa.Boolean(), nullable=False),
        sa.Column("is_required", sa.Boolean(), nullable=False),
        sa.Column("is_byok_only", sa.Boolean(), nullable=False),
        sa.Column("sort_order", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.String(length=36), nullable=True),
        sa.Column("allowed_models", sa.Text(), nullable=True),
        sa.Column("allowed_api_key_hashes", sa.Text(), nullable=True),
        sa.Column("allowed_user_ids", sa.Text(), nullable=True),
        sa.Column("declared_region", sa.String(length=16), nullable=True),
        sa.Column("declared_zdr", sa.Boolean(), nullable=True),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_credentials_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
    )
    op.create_index(op.f("ix_credentials_provider"), "credentials", ["provider"], unique=False)
    op.create_table(
        "file_parts",
        sa.Column("file_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_file_parts_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("file_id", "number", name=op.f("pk_file_parts")),
    )
    op.create_table(
        "guardrails",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workspace_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("limit_pico", sa.BigInteger(), nullable=True),
        sa.Column("limit_reset", sa.String(length=8), nullable=True),
        sa.Column("include_byok_in_budgets", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_guardrails_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guardrails")),
    )
    op.create_index(op.f("ix_guardrails_workspace_id"), "guardrails", ["workspace_id"], unique=False)
    op.create_table(
        "preset_versions",
        sa.Column("workspace_id", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("preset_id", sa.String(length=36), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_preset_versions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "slug", "version", name=op.f("pk_preset_versions")),
    )
    op.create_table(
        "private_endpoints",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workspace_id", sa.String(length=36), nullable=True),
        sa.Column("model_permaslug", sa.String(length=200), nullable=False),
        sa.Column("provider_slug", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=True),
        sa.Column("validated_at", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.String(length=64), nullable=True),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_private_endpoints_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_private_endpoints")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_private_endpoints_idempotency_key")),
    )
    op.create_table(
        "guardrail_keys",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("guardrail_id", sa.String(length=36), nullable=False),
        sa.Column("assigned_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["guardrail_id"], ["guardrails.id"], name=op.f("fk_guardrail_keys_guardrail_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_guardrail_keys_key_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_guardrail_keys")),
    )
    op.create_index(op.f("ix_guardrail_keys_guardrail_id"), "guardrail_keys", ["guardrail_id"], unique=False)
    op.add_column("generations", sa.Column("upstream_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        "ix_generations_app_id_created_at",
        "generations",
        ["app_id", "created_at"],
        unique=False,
        sqlite_where=sa.text("app_id != 0"),
        postgresql_where=sa.text("app_id != 0"),
    )
    op.create_index(
        "ix_generations_cached_created_at",
        "generations",
        ["created_at", "key_id"],
        unique=False,
        sqlite_where=sa.text("cache_source_id IS NOT NULL"),
        postgresql_where=sa.text("cache_source_id IS NOT NULL"),
    )
    op.create_index(
        "ix_generations_failed_created_at",
        "generations",
        ["created_at", "status", "key_id"],
        unique=False,
        sqlite_where=sa.text("status != 200"),
        postgresql_where=sa.text("status != 200"),
    )
    op.create_index(
        "ix_generations_model_permaslug_created_at", "generations", ["model_permaslug", "created_at"], unique=False
    )
    op.add_column("holds", sa.Column("byok_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("spending", sa.Column("byok_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("spending", sa.Column("byok_held_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("usage", sa.Column("cancelled", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("usage", sa.Column("rerouted", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("usage", sa.Column("byok_tokens", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("usage", sa.Column("upstream_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("workspaces", sa.Column("settings", sa.Text(), server_default="{}", nullable=False))
    op.add_column(
        "workspaces", sa.Column("include_byok_in_budgets", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    _count_cancelled()


def _count_cancelled() -> None:
    """Of what was used before; nobody was rerouted or paid himself then."""
    op.execute(
        """
        UPDATE usage SET cancelled = (
            SELECT count(*) FROM generations WHERE generations.cancelled AND status <> 200
            AND generations.key_id = usage.key_id
            AND created_at >= bucket * 1000000 AND created_at < (bucket + 900) * 1000000
            AND generations.workspace_id = usage.workspace_id
            AND generations.model_permaslug = usage.model_permaslug
            AND generations.endpoint = usage.endpoint
            AND generations.app_id = usage.app_id
            AND generations.public = usage.public
        ) WHERE failures > 0
        """
    )
