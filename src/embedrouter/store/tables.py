"""The tables. SQLite and PostgreSQL have the same ones.

Times are integers: microseconds since 1970 UTC, but for `bucket` and `start`, which are seconds. Money is integer
pico-USD. Names of columns with neither say what they count.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
    or_,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_SUMS_OF_MODELS: Final = (
    "requests",
    "failures",
    "cancelled",
    "cache_hits",
    "rerouted",
    "prompt_tokens",
    "byok_tokens",
    "cost_pico",
)  # as in `usage`


def _sums_of_models() -> tuple[Column[Any], ...]:
    return (
        Column("bucket", BigInteger, nullable=False),
        Column("model_permaslug", String(200), nullable=False),
        Column("endpoint", String(200), nullable=False),  # tag
        Column("public", Boolean, nullable=False),
        Column("model", String(200), nullable=False),
        Column("provider_name", String(200), nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in _SUMS_OF_MODELS),
    )


# Small facts about the database itself, and counters: what keys changed last, up to when a table was pruned.
marks: Final = Table(
    "marks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Gateway processes that use this database. One that has not been seen for a while is dead: its holds are released.
instances: Final = Table(
    "instances",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

users: Final = Table(
    "users",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("email", String(320), nullable=False, unique=True),  # lower case
    Column("name", String(200), nullable=False),
    Column("password_hash", String(255), nullable=False),  # argon2id
    Column("role", String(16), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("last_login_at", BigInteger),
    CheckConstraint("role IN ('admin', 'member')", name="role"),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256, hex
    Column("id", String(40), nullable=False, unique=True),  # to name it in lists without giving it away
    Column("user_id", String(40), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("user_agent", String(256)),
)

# One-time links: the first administrator's, and invitations.
invites: Final = Table(
    "invites",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256, hex
    Column("purpose", String(8), nullable=False),  # setup, invite
    Column("role", String(16), nullable=False),
    Column("created_by", String(40), ForeignKey("users.id", ondelete="CASCADE")),  # null: who runs the server
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

# Failed logins by account name and by address (both hashed), for throttling.
login_failures: Final = Table(
    "login_failures",
    metadata,
    Column("subject_hash", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, index=True),
)

workspaces: Final = Table(
    "workspaces",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("slug", String(100), nullable=False, unique=True),
    Column("in_rankings", Boolean, nullable=False),  # false: opted out of rankings and app pages
    Column("settings", Text, nullable=False, server_default="{}"),  # JSON: description, default_provider_sort, ...
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("include_byok_in_budgets", Boolean, nullable=False, server_default=false()),
)

budgets: Final = Table(
    "budgets",
    metadata,
    Column("workspace_id", String(36), ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False),
    Column("period", String(8), nullable=False),  # day, week, month, total
    Column("limit_pico", BigInteger, nullable=False),
    PrimaryKeyConstraint("workspace_id", "period"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the key, hex: its public id
    Column("label", String(64), nullable=False),  # masked
    Column("name", String(200), nullable=False),
    Column("source", String(16), nullable=False),  # api, cli, page, environment, first, playground
    Column("management", Boolean, nullable=False),
    Column("owner_id", String(40), ForeignKey("users.id", ondelete="SET NULL"), index=True),
    Column("workspace_id", String(36), ForeignKey("workspaces.id"), nullable=False, index=True),
    Column("disabled", Boolean, nullable=False),
    Column("private", Boolean, nullable=False),  # kept out of rankings and app pages
    Column("limit_pico", BigInteger),
    Column("limit_reset", String(8)),  # day, week, month; null: never
    Column("include_byok_in_limit", Boolean, nullable=False),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", BigInteger),
    Column("max_concurrent", Integer),
    Column("external_user", String(256)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),  # grows with every change of any key
    sqlite_autoincrement=True,
)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("credited_pico", BigInteger, nullable=False),  # all top-ups and adjustments
)

# Every movement of money. Charges are one entry a key and UTC day, grown by each generation in its own transaction.
ledger: Final = Table(
    "ledger",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(36), ForeignKey("accounts.id"), nullable=False),
    Column("kind", String(16), nullable=False),  # top_up, adjustment, usage
    Column("amount_pico", BigInteger, nullable=False),  # what it adds to the balance
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("actor", String(200), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("idempotency_key", String(255), unique=True),
    Column("key_id", Integer),  # of usage
    Column("day", BigInteger),  # of usage: its UTC midnight, in seconds
)

# What was spent and is held, by who and when: the counters that limits are held against.
spending: Final = Table(
    "spending",
    metadata,
    Column("scope", String(12), nullable=False),  # account, workspace, key, guardrail
    Column("scope_id", String(36), nullable=False),
    Column("period", String(8), nullable=False),  # total, day, week, month
    Column("start", BigInteger, nullable=False),  # the period's first second, UTC; 0 for total
    Column("spent_pico", BigInteger, nullable=False),
    Column("held_pico", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    # What own credentials paid for, by list price, and what is held for it beyond held_pico: of limits that count it.
    Column("byok_pico", BigInteger, nullable=False, server_default="0"),
    Column("byok_held_pico", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("scope", "scope_id", "period", "start"),
    CheckConstraint("held_pico >= 0", name="held"),
    Index("ix_spending_start", "start"),  # for retention
)

# Reserved money of requests under way.
holds: Final = Table(
    "holds",
    metadata,
    Column("id", String(64), primary_key=True),  # the generation's
    Column("instance_id", String(32), nullable=False, index=True),
    Column("key_id", Integer, nullable=False, index=True),
    Column("amount_pico", BigInteger, nullable=False),
    Column("claims", Text, nullable=False),  # JSON: the rows of `spending` it is held in
    Column("created_at", BigInteger, nullable=False),
    Column("byok_pico", BigInteger, nullable=False, server_default="0"),  # beyond amount_pico, in byok_held_pico
)

# GCRA: the theoretical arrival times of a key's requests and tokens, in nanoseconds.
key_rates: Final = Table(
    "key_rates",
    metadata,
    Column("key_id", Integer, primary_key=True, autoincrement=False),
    Column("requests_tat", BigInteger, nullable=False),
    Column("tokens_tat", BigInteger, nullable=False),
)

apps: Final = Table(
    "apps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("url", String(512), nullable=False, unique=True),
    Column("title", String(120)),
    Column("categories", Text, nullable=False),  # comma-separated
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# One row a request, written with its money. Prompts are not here.
generations: Final = Table(
    "generations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("workspace_id", String(36), nullable=False),
    Column("owner_id", String(40)),
    Column("app_id", Integer, nullable=False),  # 0: none
    Column("public", Boolean, nullable=False),  # counts in rankings
    Column("api_type", String(16), nullable=False),
    Column("model", String(200), nullable=False),  # slug
    Column("model_permaslug", String(200), nullable=False),
    Column("endpoint", String(200), nullable=False),  # tag
    Column("provider_name", String(200), nullable=False),
    Column("status", Integer, nullable=False),  # HTTP
    Column("error_type", String(40)),
    Column("cancelled", Boolean, nullable=False),
    Column("inputs", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("is_byok", Boolean, nullable=False),
    Column("latency_us", BigInteger, nullable=False),  # from the request's head to its settlement
    Column("generation_us", BigInteger, nullable=False),  # of it, the provider's part
    Column("attempts", Text, nullable=False),  # JSON, as in provider_responses
    Column("origin", String(512), nullable=False),
    Column("http_referer", String(512)),
    Column("user_agent", String(256)),
    Column("external_user", String(256)),
    Column("session_id", String(256)),
    Column("request_id", String(128)),
    Column("cache_source_id", String(64)),
    Column("upstream_pico", BigInteger, nullable=False, server_default="0"),  # list price; own credentials paid it
    Index("ix_generations_created_at", "created_at"),
    Index("ix_generations_key_id_created_at", "key_id", "created_at"),
    Index("ix_generations_model_permaslug_created_at", "model_permaslug", "created_at"),
)
# Of few rows, so that the others pay nothing for them.
_FEW: Final = {
    "app_id": generations.c.app_id != 0,
    "failed": generations.c.status != 200,
    "cached": generations.c.cache_source_id.is_not(None),
}
Index(
    "ix_generations_app_id_created_at", generations.c.app_id, generations.c.created_at,
    sqlite_where=_FEW["app_id"], postgresql_where=_FEW["app_id"],
)  # fmt: skip
Index(
    "ix_generations_failed_created_at",
    generations.c.created_at,
    generations.c.status,
    generations.c.key_id,
    sqlite_where=_FEW["failed"], postgresql_where=_FEW["failed"],
)  # fmt: skip
Index(
    "ix_generations_cached_created_at",
    generations.c.created_at,
    generations.c.key_id,
    sqlite_where=_FEW["cached"], postgresql_where=_FEW["cached"],
)  # fmt: skip

# Only where the operator switched storing on.
generation_contents: Final = Table(
    "generation_contents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("prompt", Text, nullable=False),  # JSON: the inputs
)

# Sums of generations by quarter of an hour, which fits every time zone's days. Grown with each generation.
usage: Final = Table(
    "usage",
    metadata,
    Column("bucket", BigInteger, nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("workspace_id", String(36), nullable=False),
    Column("model_permaslug", String(200), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("app_id", Integer, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider_name", String(200), nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),  # of them, not answered with 200
    Column("cache_hits", BigInteger, nullable=False),
    Column("inputs", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    Column("generation_us", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False, server_default="0"),  # of the failures: the client went away
    Column("rerouted", BigInteger, nullable=False, server_default="0"),  # answered though the first attempt had failed
    Column("byok_tokens", BigInteger, nullable=False, server_default="0"),  # paid for by somebody's own credential
    Column("upstream_pico", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("bucket", "key_id", "workspace_id", "model_permaslug", "endpoint", "app_id", "public"),
    sqlite_with_rowid=False,  # one tree instead of two, in the order in which it is read; so are the next ones
)

# Rollups: sums of `usage` up to a mark; see ledger/rollups.py. This has each generation three times, by UTC day and
# key, split by model, by app and by provider, and the same of all keys together (key 0): a sum by everything at once
# would have as many rows as there are generations.
usage_days: Final = Table(
    "usage_days",
    metadata,
    Column("split", String(16), nullable=False),  # see ledger/rollups.py
    Column("bucket", BigInteger, nullable=False),
    Column("key_id", Integer, nullable=False),  # 0: all
    Column("of", String(200), nullable=False),  # canonical slug; app's number, 0: none; provider's name
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),  # of them, not answered with 200
    Column("cache_hits", BigInteger, nullable=False),
    Column("inputs", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    PrimaryKeyConstraint("split", "bucket", "key_id", "of"),
    sqlite_with_rowid=False,
)

# Public generations that name an app, by UTC day, app and model.
app_days: Final = Table(
    "app_days",
    metadata,
    Column("bucket", BigInteger, nullable=False),
    Column("app_id", Integer, nullable=False),
    Column("model_permaslug", String(200), nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    PrimaryKeyConstraint("bucket", "app_id", "model_permaslug"),
    Index("ix_app_days_app_id_bucket", "app_id", "bucket"),
    sqlite_with_rowid=False,
)

# All generations, whoever made them, by hour, model and endpoint: what pages tell of uptime, prices and trends.
model_hours: Final = Table(
    "model_hours",
    metadata,
    *_sums_of_models(),
    PrimaryKeyConstraint("bucket", "model_permaslug", "endpoint", "public"),
    sqlite_with_rowid=False,
)

# The same by UTC day.
model_days: Final = Table(
    "model_days",
    metadata,
    *_sums_of_models(),
    PrimaryKeyConstraint("bucket", "model_permaslug", "endpoint", "public"),
    sqlite_with_rowid=False,
)

# What an administrator adds to the shipped catalog or changes in it: a provider, a model or an endpoint, whole.
catalog_entries: Final = Table(
    "catalog_entries",
    metadata,
    Column("kind", String(16), nullable=False),  # provider, model, endpoint
    Column("slug", String(200), nullable=False),  # an endpoint's: model slug, space, tag
    Column("body", Text, nullable=False),  # JSON, as in the TOML file
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", String(200), nullable=False),
    PrimaryKeyConstraint("kind", "slug"),
)

# Providers' credentials, sealed.
credentials: Final = Table(
    "credentials",
    metadata,
    Column("id", String(36), primary_key=True),  # uuid
    Column("provider", String(100), nullable=False, index=True),  # slug
    Column("name", String(255)),
    Column("label", String(64), nullable=False),  # masked
    Column("sealed", Text, nullable=False),  # key id, nonce, AES-GCM: see accounts/sealing
    Column("disabled", Boolean, nullable=False),
    Column("is_fallback", Boolean, nullable=False),  # after the provider's other ones
    Column("is_required", Boolean, nullable=False),  # instead of shared ones, for the models it is for
    Column("is_byok_only", Boolean, nullable=False),  # instead of shared ones, for every model
    Column("sort_order", Integer, nullable=False),
    Column("workspace_id", String(36), ForeignKey("workspaces.id", ondelete="CASCADE")),  # null: all
    Column("allowed_models", Text),  # JSON list; null: all
    Column("allowed_api_key_hashes", Text),
    Column("allowed_user_ids", Text),
    Column("declared_region", String(16)),  # global, europe, us; null: not declared
    Column("declared_zdr", Boolean),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

private_endpoints: Final = Table(
    "private_endpoints",
    metadata,
    Column("id", String(36), primary_key=True),  # uuid
    Column("workspace_id", String(36), ForeignKey("workspaces.id", ondelete="CASCADE")),  # null until activated
    Column("model_permaslug", String(200), nullable=False),
    Column("provider_slug", String(100), nullable=False),
    Column("status", String(16), nullable=False),  # draft, active, disabled
    Column("body", Text, nullable=False),  # JSON: upstream_model_id, base_url, pricing, declared_*
    Column("checks", Text),  # JSON: of the last validation
    Column("validated_at", BigInteger),  # of what it says now; null: not, or not any more
    Column("idempotency_key", String(255), unique=True),
    Column("request_hash", String(64)),  # SHA-256 of the body that the idempotency key came with
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

guardrails: Final = Table(
    "guardrails",
    metadata,
    Column("id", String(36), primary_key=True),  # uuid
    Column("workspace_id", String(36), ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("limit_pico", BigInteger),  # its budget; null: none
    Column("limit_reset", String(8)),  # day, week, month; null: never
    Column("include_byok_in_budgets", Boolean, nullable=False),
    Column("body", Text, nullable=False),  # JSON: description, allow lists, zdr
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# One guardrail a key.
guardrail_keys: Final = Table(
    "guardrail_keys",
    metadata,
    Column("key_id", Integer, ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("guardrail_id", String(36), ForeignKey("guardrails.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("assigned_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

preset_versions: Final = Table(
    "preset_versions",
    metadata,
    Column("workspace_id", String(36), ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False),
    Column("slug", String(100), nullable=False),
    Column("version", Integer, nullable=False),  # from 1; the highest counts
    Column("preset_id", String(36), nullable=False),  # uuid, the same for all versions
    Column("body", Text, nullable=False),  # JSON: name, description, config
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("workspace_id", "slug", "version"),
)

# What all processes saw of an endpoint, by minute. Kept for three days.
health_minutes: Final = Table(
    "health_minutes",
    metadata,
    Column("endpoint", String(200), nullable=False),  # model slug, space, tag
    Column("minute", BigInteger, nullable=False),  # seconds
    Column("successes", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),  # that count against uptime
    Column("rate_limited", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    PrimaryKeyConstraint("endpoint", "minute"),
    Index("ix_health_minutes_minute", "minute"),  # for retention
    sqlite_with_rowid=False,
)
_FAILING: Final = or_(health_minutes.c.failures > 0, health_minutes.c.rate_limited > 0)
Index("ix_health_minutes_failing_minute", health_minutes.c.minute, sqlite_where=_FAILING, postgresql_where=_FAILING)

# How many successes fell into a logarithmic bucket of latency or of throughput, by minute.
health_histograms: Final = Table(
    "health_histograms",
    metadata,
    Column("endpoint", String(200), nullable=False),
    Column("minute", BigInteger, nullable=False),  # seconds
    Column("measure", String(12), nullable=False),  # latency, throughput
    Column("bucket", Integer, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("endpoint", "minute", "measure", "bucket"),
    Index("ix_health_histograms_minute", "minute"),
    sqlite_with_rowid=False,
)

# Endpoints and credentials that are not asked for a while, as all processes are told.
health_pauses: Final = Table(
    "health_pauses",
    metadata,
    Column("subject", String(240), primary_key=True),  # endpoint: model slug, space, tag; or credential: id
    Column("until", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row: how long the next pause will be
    Column("reason", String(40), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
