"""The demo's people, keys, providers and rules, made by the functions that make real ones."""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from embedrouter.accounts import credentials, guardrails, keys, presets, private_endpoints, users, workspaces
from embedrouter.accounts.caller import Caller, Gatekeeper
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import ApiKey, KeyChange, NewKey
from embedrouter.accounts.passwords import Passwords
from embedrouter.accounts.private_endpoints import Activation, Check, Pricing, Upstream, Validated, Validation
from embedrouter.accounts.ring import KeyRing
from embedrouter.accounts.sealing import Sealer, Secret
from embedrouter.accounts.users import User
from embedrouter.accounts.workspaces import BudgetChange, Preferences
from embedrouter.demo.scene import ADMIN, APPS, KEYS, PEOPLE, PRIVATE_PROVIDER, PRIVATE_URL, SMALL, SPACES, VOYAGE
from embedrouter.demo.weather import HOUR, Span
from embedrouter.ledger import apps
from embedrouter.ledger.apps import AppClaim
from embedrouter.ledger.credits import Credit
from embedrouter.ledger.credits import add as add_credit
from embedrouter.money import PICO, pico_usd
from embedrouter.periods import DAY, RESETS, SECOND
from embedrouter.settings import Settings
from embedrouter.store import Database
from embedrouter.store.session import Handler

P = TypeVar("P")
R = TypeVar("R")

USUAL: Final = 20_000  # requests; with more, everything that costs money grows
_IDS: Final = uuid.UUID("1c8f8f0e-6c7e-4f5a-9d53-7a1a0c3c2b11")  # of ids that are derived from names
_WEEK: Final = 7 * DAY * SECOND


class Desk(Protocol):
    """Where things are written."""

    def write(self, handler: Handler[P, R], payload: P) -> R:
        """Have it written. Raises what the handler answers with."""
        ...


class Login(NamedTuple):
    """How somebody signs in; told once."""

    email: str
    role: str
    password: str


class Made(NamedTuple):
    """A key; its secret is told once."""

    key: ApiKey
    secret: str


class House(NamedTuple):
    """Everybody and everything."""

    logins: Sequence[Login]
    keys: Sequence[Made]
    callers: Mapping[str, Caller]  # by the name of the key
    apps: Mapping[str, int]  # ids by URL


def furnish(desk: Desk, database: Database, settings: Settings, span: Span, requests: int) -> House:
    """Make them all, as of the span's start. Raises EmbedRouterError."""
    scale = -(-requests // USUAL)
    people, logins = _people(desk, span)
    ids = _spaces(desk, people, span, scale)
    made = _keys(desk, people, ids, span, scale)
    _guardrail(desk, ids["search-team"], made, span, scale)
    _preset(desk, ids["search-team"], people["ben@demo.example"], span)
    _private(desk, settings, ids["quill-lab"], people["chloe@demo.example"], span)
    _credits(desk, span, scale)
    found = {
        app.url: desk.write(apps.note, AppClaim(app.url, app.title, app.categories, span.start + number * HOUR))
        for number, app in enumerate(APPS)
    }
    ring = KeyRing(database)
    ring.load()
    gatekeeper = Gatekeeper(ring, settings.billing)
    callers = {one.key.name: gatekeeper.admit(one.secret, span.start) for one in made}
    return House(logins, made, callers, {url: app.id for url, app in found.items() if app is not None})


def leave(desk: Desk, house: House, span: Span) -> None:
    """Take away the keys whose time is over."""
    fates = {key.name: key for key in KEYS if key.fate is not None}
    for made in house.keys:
        if (planned := fates.get(made.key.name)) is not None:
            at = span.before_end(planned.until)
            if planned.fate == "disabled":
                desk.write(keys.change, KeyChange(made.key.hash, {"disabled": True}, at))
            elif planned.fate == "deleted":
                desk.write(keys.change, KeyChange(made.key.hash, {"deleted_at": at}, at))


def derived(name: str) -> str:
    """An id that is the same in every demo."""
    return str(uuid.uuid5(_IDS, name))


def private_id() -> str:
    """Of the lab's own endpoint."""
    return derived("private endpoint")


def _people(desk: Desk, span: Span) -> tuple[dict[str, User], list[Login]]:
    passwords = Passwords()
    logins = [Login(one.email, one.role, secrets.token_urlsafe(12)) for one in PEOPLE]
    found = {}
    for person, login in zip(PEOPLE, logins, strict=True):
        hash_ = passwords.hashed(login.password)
        new = users.NewUser(person.email, person.name, hash_, person.role, span.start)
        found[person.email] = desk.write(users.create, new)
    passwords.close()
    return found, logins


def _spaces(desk: Desk, people: Mapping[str, User], span: Span, scale: int) -> dict[str, str]:
    """Ids by slug."""
    ids = {"default": WORKSPACE}
    for space in SPACES:
        wanted = workspaces.NewWorkspace(
            derived(f"workspace {space.slug}"), space.name, space.slug, space.in_rankings,
            Preferences(description=space.description, created_by=people[space.owner].id), span.start,
        )  # fmt: skip
        ids[space.slug] = desk.write(workspaces.create, wanted).id
        if space.monthly_usd is not None:
            budget = BudgetChange(space.slug, "month", scale * pico_usd(space.monthly_usd))
            desk.write(workspaces.change_budget, budget)
    return ids


def _keys(desk: Desk, people: Mapping[str, User], ids: Mapping[str, str], span: Span, scale: int) -> list[Made]:
    made = []
    for key in KEYS:
        secret = keys.new_secret()
        wanted = NewKey(
            keys.digest_of(secret),
            keys.masked(secret),
            key.name,
            "page",
            span.start,
            ids[key.space],
            management=key.management,
            owner_id=people[key.owner].id,
            private=key.private,
            limit_pico=None if key.limit_usd is None else scale * pico_usd(key.limit_usd),
            limit_reset=None if key.reset is None else RESETS[key.reset],
            requests_per_minute=key.per_minute,
            external_user=key.external_user,
            expires_at=span.before_end(key.until) if key.fate == "expired" else None,
        )
        made.append(Made(desk.write(keys.create, wanted), secret))
    return made


def _guardrail(desk: Desk, workspace_id: str, made: Sequence[Made], span: Span, scale: int) -> None:
    rules = guardrails.Rules(
        description="The indexer may not spend more in a week, nor use a provider that trains on prompts",
        enable_paid_model_training=False,
    )
    wanted = guardrails.NewGuardrail(
        derived("guardrail"), workspace_id, "Indexing budget", 4 * scale * PICO, "week", rules, span.start
    )
    desk.write(guardrails.create, wanted)
    hashes = tuple(one.key.hash for one in made if one.key.name == "Nightly indexer")
    desk.write(guardrails.assign, guardrails.Assigning(wanted.id, hashes, ADMIN.email, span.start))


def _preset(desk: Desk, workspace_id: str, by: User, span: Span) -> None:
    configs: tuple[dict[str, Any], ...] = (
        {"model": SMALL},
        {"model": SMALL, "provider": {"sort": "latency"}, "cache_enabled": True, "cache_ttl_seconds": 3600},
    )
    for number, config in enumerate(configs):
        wanted = presets.NewVersion(
            derived("preset"), workspace_id, "search", "Search", "What the search page sends",
            msgspec.json.encode(config), by.id, span.before_end(1.0 - 0.3 * number),
        )  # fmt: skip
        desk.write(presets.create, wanted)


def _private(desk: Desk, settings: Settings, workspace_id: str, by: User, span: Span) -> None:
    """The lab's own credentials, and its own deployment."""
    sealer = Sealer.of(settings)
    ids = {}
    for provider, name in (("voyage", "The lab's contract"), (PRIVATE_PROVIDER, "The lab's deployment")):
        secret = Secret(f"demo-{secrets.token_hex(16)}")
        wanted = credentials.NewCredential(
            sealer, derived(f"credential {provider}"), provider, secret, span.start, by.id, workspace_id, name,
            is_byok_only=provider == "voyage", is_fallback=False,
            allowed_models=(VOYAGE,) if provider == "voyage" else (SMALL,),
        )  # fmt: skip
        ids[provider] = desk.write(credentials.add, wanted).id
    upstream = Upstream(
        upstream_model_id="lab-small",
        base_url=PRIVATE_URL,
        pricing=Pricing(prompt="0.000000018", completion="0"),
        declared_region="europe",
        declared_zdr=True,
    )
    drafted = private_endpoints.NewPrivateEndpoint(private_id(), SMALL, PRIVATE_PROVIDER, upstream, span.start, by.id)
    draft = desk.write(private_endpoints.create, drafted)
    checks = tuple(Check(name=name, passed=True) for name in ("upstream", "response", "model"))
    found = Validation(workspace_id=workspace_id, credential_id=ids[PRIVATE_PROVIDER], checks=checks)
    desk.write(private_endpoints.note_validation, Validated(draft.id, draft.updated_at, found, span.start))
    desk.write(private_endpoints.activate, Activation(draft.id, span.start + HOUR))


def _credits(desk: Desk, span: Span, scale: int) -> None:
    wanted = [Credit("top_up", 5 * scale * PICO, ADMIN.email, "Opening balance", span.start, "demo opening")]
    for number in range(1, (span.end - span.start) // _WEEK + 1):
        at = span.start + number * _WEEK
        wanted.append(Credit("top_up", 2 * scale * PICO, ADMIN.email, f"Week {number}", at, f"demo week {number}"))
    refund = span.before_end(0.3)
    wanted.append(
        Credit("adjustment", -scale * PICO, ADMIN.email, "A top-up was booked twice", refund, "demo correction")
    )
    for credit in wanted:
        desk.write(add_credit, credit)
