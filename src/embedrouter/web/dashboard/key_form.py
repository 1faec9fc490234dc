"""The form of a key: what it is sent as, what it means, what it shows."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.key_terms import Concurrent, Name, PerMinute, Time, TokensPerMinute, Usd, expiry
from embedrouter.accounts.keys import ApiKey
from embedrouter.fields import bad_field, invalid_field, plain
from embedrouter.money import MOST, PICO, pico_usd, typed_usd, usd_text
from embedrouter.periods import RESET_OF, RESETS, Reset
from embedrouter.web.dashboard.choices import moment
from embedrouter.web.formats import machine_time

_EXPECTED: Final = {
    "name": "at most 200 characters",
    "limit": f"an amount in USD like 12.50, 0 to {MOST // PICO:,}",
    "limit_reset": f"nothing, {', '.join(RESETS)}",
    "requests_per_minute": "a whole number, 1 to 2,147,483,647",
    "tokens_per_minute": "a whole number, 1 to 1,000,000,000,000",
    "max_concurrent": "a whole number, 1 to 1,000,000",
}
_TICKS: Final = ("private", "include_byok_in_limit", "management")


class KeyForm(msgspec.Struct, frozen=True, kw_only=True):
    """What a key shall be."""

    name: Name
    limit: Usd | None = None
    limit_reset: Reset | None = None
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: TokensPerMinute | None = None
    max_concurrent: Concurrent | None = None
    expires_at: Time | None = None
    private: bool = False
    include_byok_in_limit: bool = False
    management: bool = False  # of a new one
    workspace_id: str = WORKSPACE  # of a new one


class Kept(NamedTuple):
    """An end that is in the past already may stay as it is."""

    expires_at: int | None


def read(fields: Mapping[str, str]) -> KeyForm:
    """A form's fields; empty ones are not said. Raises InvalidRequestError naming the field."""
    said: dict[str, Any] = {name: value.strip() for name, value in fields.items() if value.strip()}
    said |= {name: name in said for name in _TICKS}
    if "name" not in said:
        raise bad_field("name", "say what the key is for")
    plain("name", said["name"])
    if "limit" in said:
        said["limit"] = typed_usd(said["limit"])
    said["expires_at"] = moment("expires_at", said.get("expires_at", ""))
    try:
        return msgspec.convert(said, KeyForm, strict=False)
    except msgspec.ValidationError as error:
        wrong = invalid_field(error)
        field = str(wrong.metadata.get("field"))
        raise (bad_field(field, f"expected {_EXPECTED[field]}") if field in _EXPECTED else wrong) from error


def columns(form: KeyForm, at: int, kept: Kept | None = None) -> dict[str, Any]:
    """The columns of api_keys that a form sets. at: now, in microseconds. Raises InvalidRequestError."""
    try:
        limit = None if form.limit is None else pico_usd(form.limit)
    except ValueError as error:
        raise bad_field("limit", "expected an amount in USD") from error
    return {
        "name": form.name,
        "limit_pico": limit,
        "limit_reset": None if form.limit_reset is None else RESETS[form.limit_reset],
        "requests_per_minute": form.requests_per_minute,
        "tokens_per_minute": form.tokens_per_minute,
        "max_concurrent": form.max_concurrent,
        "expires_at": _expires(form, at, kept),
        "private": form.private,
        "include_byok_in_limit": form.include_byok_in_limit,
    }


def in_default_workspace(form: KeyForm) -> KeyForm:
    """The same of whoever does not choose workspaces."""
    return msgspec.structs.replace(form, workspace_id=WORKSPACE)


def shown(key: ApiKey) -> dict[str, str]:
    """A key as the fields of its form."""
    values = {
        "name": key.name,
        "limit": None if key.limit_pico is None else usd_text(key.limit_pico),
        "limit_reset": RESET_OF.get(key.limit_reset) if key.limit_reset else None,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "max_concurrent": key.max_concurrent,
        "expires_at": None if key.expires_at is None else machine_time(key.expires_at).removesuffix("Z"),
        "private": "true" if key.private else None,
        "include_byok_in_limit": "true" if key.include_byok_in_limit else None,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _expires(form: KeyForm, at: int, kept: Kept | None) -> int | None:
    if form.expires_at is None:
        return None
    if kept is not None and kept.expires_at is not None:
        same = machine_time(kept.expires_at) == form.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        if same:  # also to the microsecond, which the form does not show
            return kept.expires_at
    return expiry(form.expires_at, at)
