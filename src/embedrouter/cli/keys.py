"""embedrouter keys: API keys, made and changed in the database. A running server takes changes in within 2 s."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    facts,
    money_of,
    note,
    plain,
    show,
    table,
    text_of,
    told,
)
from embedrouter.cli.store import Writing, reading, writing
from embedrouter.errors import InvalidRequestError
from embedrouter.money import usd
from embedrouter.periods import PERIODS, RESET_OF, RESETS, SECOND, Reset, iso, start_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from embedrouter.accounts.keys import ApiKey

app = typer.Typer(help="API keys: make, list, change, disable, delete.", no_args_is_help=True)

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
_MOST: Final = {"--rpm": 2**31 - 1, "--concurrency": 2**31 - 1, "--tpm": 2**53}

HashArgument = Annotated[str, typer.Argument(help="The key's hash, or its first 8 hex digits or more.", metavar="HASH")]


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A key as these commands tell of it. Money is USD, times are ISO 8601."""

    hash: str
    label: str
    name: str
    management: bool
    disabled: bool
    private: bool
    workspace_id: str
    owner_id: str | None
    limit: float | None
    limit_reset: Reset | None
    limit_remaining: float | None
    usage: float
    usage_daily: float
    usage_weekly: float
    usage_monthly: float
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    created_at: str
    updated_at: str | None
    expires_at: str | None


class NewKeyShown(msgspec.Struct, frozen=True):
    """What `create` prints: the key itself is never shown again."""

    key: str
    data: Key


class Deleted(msgspec.Struct, frozen=True):
    """What `delete` prints."""

    hash: str
    deleted: bool = True


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    management: Annotated[bool, typer.Option("--management", help="A key that manages, and never embeds.")] = False,
    limit: Annotated[str | None, typer.Option(help="What it may spend, in USD.", metavar="USD")] = None,
    limit_reset: Annotated[Reset | None, typer.Option(help="The limit is for a UTC day, week or month.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it stops: 2027-01-31T00:00:00Z, or 30d, 12h.")] = None,
    rpm: Annotated[str | None, typer.Option(help="Requests a minute.", metavar="N")] = None,
    tpm: Annotated[str | None, typer.Option(help="Tokens a minute.", metavar="N")] = None,
    concurrency: Annotated[str | None, typer.Option(help="Requests at once.", metavar="N")] = None,
    private: Annotated[bool, typer.Option("--private", help="Keep it out of rankings and app pages.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: this once. Makes the database where there is none."""
    with told():
        from embedrouter.accounts.first import WORKSPACE
        from embedrouter.accounts.keys import NewKey, create, digest_of, masked, new_secret
        from embedrouter.ledger.book import now

        at = now()
        values = _values(at, name, limit, limit_reset, expires, rpm, tpm, concurrency)
        with writing(config, data_dir, database_url, make=True) as store:
            secret = new_secret()
            new = NewKey(digest_of(secret), masked(secret), name, "cli", at, WORKSPACE, management, private=private)
            made = store.write(create, new._replace(**values))
            shown = NewKeyShown(secret, _shown(made, {}, at))
            show(shown, as_json, lambda: _print_new(shown, store))


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Disabled ones, too.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """All keys, the newest first."""
    with told():
        from embedrouter.accounts.keys import KeyFilter, list_keys
        from embedrouter.ledger.book import now

        with reading(config, data_dir, database_url) as store:
            found = store.read(list_keys, KeyFilter(include_disabled=all_, limit=1_000_000))
            spent = store.read(_spent, [key.id for key in found], now())
        keys = [_shown(key, spent.get(key.id, {}), now()) for key in found]
        show(
            keys,
            as_json,
            lambda: table(
                ("hash", "label", "name", "kind", "limit", "used", "state"),
                [
                    (key.hash[:12], key.label, key.name, _kind(key), _limit(key), plain(key.usage), _state(key))
                    for key in keys
                ],
            ),
        )


@app.command("show")
def show_key(
    hash_: HashArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything about one key but the key itself."""
    with told():
        from embedrouter.accounts.keys import find_by_prefix
        from embedrouter.ledger.book import now

        with reading(config, data_dir, database_url) as store:
            found = store.read(find_by_prefix, hash_)
            _tell(found, store.read(_spent, [found.id], now()).get(found.id, {}), as_json)


@app.command()
def update(
    hash_: HashArgument,
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    limit: Annotated[str | None, typer.Option(help="What it may spend, in USD; or none.", metavar="USD")] = None,
    limit_reset: Annotated[Literal["daily", "weekly", "monthly", "none"] | None, typer.Option(help="Or none.")] = None,
    expires: Annotated[str | None, typer.Option(help="2027-01-31T00:00:00Z, 30d, 12h; or none.")] = None,
    rpm: Annotated[str | None, typer.Option(help="Requests a minute; or none.", metavar="N")] = None,
    tpm: Annotated[str | None, typer.Option(help="Tokens a minute; or none.", metavar="N")] = None,
    concurrency: Annotated[str | None, typer.Option(help="Requests at once; or none.", metavar="N")] = None,
    private: Annotated[bool | None, typer.Option("--private/--public", help="In rankings or not.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; `none` takes a limit away."""
    with told():
        from embedrouter.ledger.book import now

        values = dict(_values(now(), name, limit, limit_reset, expires, rpm, tpm, concurrency))
        if private is not None:
            values["private"] = private
        if not values:
            raise InvalidRequestError("nothing to change: give an option, such as --limit")
        _change(hash_, values, config, data_dir, database_url, as_json)


@app.command()
def disable(
    hash_: HashArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a key open nothing until it is enabled again."""
    with told():
        _change(hash_, {"disabled": True}, config, data_dir, database_url, as_json)


@app.command()
def enable(
    hash_: HashArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo disable."""
    with told():
        _change(hash_, {"disabled": False}, config, data_dir, database_url, as_json)


@app.command()
def delete(
    hash_: HashArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a key for good; what it used stays in the books."""
    with told():
        from embedrouter.accounts.keys import KeyChange, change, find_by_prefix
        from embedrouter.ledger.book import now

        with writing(config, data_dir, database_url) as store:
            found = store.opened.read(find_by_prefix, hash_)
            if not yes:
                typer.confirm(f'Delete the key {found.label} "{found.name}"?', abort=True, err=True)
            store.write(change, KeyChange(found.hash, {"deleted_at": now()}, now()))
        show(Deleted(found.hash), as_json, lambda: note(f"deleted {found.label}"))


def _change(
    hash_: str,
    values: Mapping[str, Any],
    config: Path | None,
    data_dir: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    from embedrouter.accounts.keys import KeyChange, change, find_by_prefix
    from embedrouter.ledger.book import now

    with writing(config, data_dir, database_url) as store:
        found = store.opened.read(find_by_prefix, hash_)
        changed = store.write(change, KeyChange(found.hash, values, now()))
        _tell(changed, store.opened.read(_spent, [changed.id], now()).get(changed.id, {}), as_json)


# --- reading what was typed


def _values(
    at: int,
    name: str | None,
    limit: str | None,
    limit_reset: Literal["daily", "weekly", "monthly", "none"] | None,
    expires: str | None,
    rpm: str | None,
    tpm: str | None,
    concurrency: str | None,
) -> Mapping[str, Any]:
    """Columns of `api_keys`, only those that were given. Raises InvalidRequestError."""
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = text_of("--name", name, 200)
    if limit is not None:
        values["limit_pico"] = None if limit == "none" else money_of("--limit", limit)
        if values["limit_pico"] is not None and values["limit_pico"] < 0:
            raise InvalidRequestError("--limit must not be negative")
    if limit_reset is not None:
        values["limit_reset"] = None if limit_reset == "none" else RESETS[limit_reset]
    if expires is not None:
        values["expires_at"] = None if expires == "none" else _time(expires, at)
    for option, column, text in (
        ("--rpm", "requests_per_minute", rpm),
        ("--tpm", "tokens_per_minute", tpm),
        ("--concurrency", "max_concurrent", concurrency),
    ):
        if text is not None:
            values[column] = None if text == "none" else _count(option, text)
    return values


def _count(option: str, text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text) <= _MOST[option]:
        raise InvalidRequestError(f"{option} must be a whole number, at least 1 (got {text!r})")
    return int(text)


def _time(text: str, at: int) -> int:
    """Microseconds of `30d` from `at`, or of a time in ISO 8601, UTC if it names no zone."""
    try:
        if span := re.fullmatch(r"(\d{1,6})([mhdw])", text):
            found = at + int(span[1]) * _UNITS[span[2]] * SECOND
        else:
            moment = datetime.fromisoformat(text)
            found = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * SECOND)
        iso(found)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"--expires must look like 2027-01-31T00:00:00Z, 30d or 12h (got {text!r})"
        ) from error
    if found <= at:
        raise InvalidRequestError(f"--expires must be in the future (got {text!r})")
    return found


# --- telling


def _spent(connection: "Connection", ids: Sequence[int], at: int) -> dict[int, dict[str, int]]:
    """{key: {period: pico-USD spent, held, and of own credentials}} of the periods that run."""
    from sqlalchemy import select, tuple_

    from embedrouter.store.tables import spending

    current = [(period, start_of(period, at)) for period in PERIODS]
    query = select(spending).where(spending.c.scope == "key", tuple_(spending.c.period, spending.c.start).in_(current))
    if len(ids) == 1:
        query = query.where(spending.c.scope_id == str(ids[0]))
    found: dict[int, dict[str, int]] = {}
    for row in connection.execute(query):
        found.setdefault(int(row.scope_id), {})[row.period] = row.spent_pico
        found[int(row.scope_id)][f"{row.period} held"] = row.held_pico
        found[int(row.scope_id)][f"{row.period} byok"] = row.byok_pico + row.byok_held_pico
    return found


def _shown(key: "ApiKey", spent: Mapping[str, int], at: int) -> Key:
    period = key.limit_reset or "total"
    counted = (period, f"{period} held", *([f"{period} byok"] if key.include_byok_in_limit else []))
    used = sum(spent.get(name, 0) for name in counted)
    return Key(
        hash=key.hash,
        label=key.label,
        name=key.name,
        management=key.management,
        disabled=key.disabled,
        private=key.private,
        workspace_id=key.workspace_id,
        owner_id=key.owner_id,
        limit=None if key.limit_pico is None else usd(key.limit_pico),
        limit_reset=None if key.limit_reset is None else RESET_OF[key.limit_reset],
        limit_remaining=None if key.limit_pico is None else usd(max(0, key.limit_pico - used)),
        usage=usd(spent.get("total", 0)),
        usage_daily=usd(spent.get("day", 0)),
        usage_weekly=usd(spent.get("week", 0)),
        usage_monthly=usd(spent.get("month", 0)),
        rpm=key.requests_per_minute,
        tpm=key.tokens_per_minute,
        concurrency=key.max_concurrent,
        created_at=iso(key.created_at),
        updated_at=None if key.updated_at is None else iso(key.updated_at),
        expires_at=None if key.expires_at is None else iso(key.expires_at),
    )


def _tell(found: "ApiKey", spent: Mapping[str, int], as_json: bool) -> None:
    from embedrouter.ledger.book import now

    shown = _shown(found, spent, now())
    show(shown, as_json, lambda: facts([(name, getattr(shown, name)) for name in shown.__struct_fields__]))


def _print_new(shown: NewKeyShown, store: Writing) -> None:
    print(shown.key, flush=True)
    note(
        f'{_kind(shown.data)} key "{shown.data.name}", hash {shown.data.hash[:12]}, in {store.opened.database.name}. '
        f"Keep it: it is not shown again."
    )


def _kind(key: Key) -> str:
    return "management" if key.management else "API"


def _limit(key: Key) -> str | None:
    return None if key.limit is None else f"{plain(key.limit)} {key.limit_reset or ''}".strip()


def _state(key: Key) -> str:
    if key.disabled:
        return "disabled"
    return "good" if key.expires_at is None else f"until {key.expires_at[:16]}"
