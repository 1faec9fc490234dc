"""Sessions: who is signed in, by a token of 256 random bits of which only the SHA-256 is kept."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, insert, or_, select, update

from embedrouter.accounts.users import User
from embedrouter.errors import AuthenticationError, NotFoundError
from embedrouter.periods import DAY, SECOND
from embedrouter.store import Batch
from embedrouter.store.tables import sessions, users

IDLE: Final = 14 * DAY * SECOND  # microseconds without a request that end a session
LONGEST: Final = 30 * DAY * SECOND  # microseconds after which it ends in any case
SEEN_EVERY: Final = 60 * SECOND  # how exactly it is known when a session was used last
MOST: Final = 100  # sessions of one user; a new one ends the oldest
_LONGEST_AGENT: Final = 256


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `sessions`, but for the token's hash. Times are microseconds."""

    id: str
    user_id: str
    created_at: int
    seen_at: int
    expires_at: int
    user_agent: str | None


class SignedIn(NamedTuple):
    """Who asks, and by which session."""

    user: User
    session: Session


class NewSession(NamedTuple):
    """A login whose password was right: `password_hash` is what it was checked against, `rehashed` what replaces it."""

    digest: str
    user_id: str
    password_hash: str
    at: int
    user_agent: str | None = None
    rehashed: str | None = None


class Seen(NamedTuple):
    """A session was used."""

    id: str
    at: int


class Ending(NamedTuple):
    """Sessions of one user to end: the one with this id, or all but that one."""

    user_id: str
    id: str
    others: bool = False


_COLUMNS: Final = tuple(sessions.c[name] for name in Session.__struct_fields__)


def new_token() -> str:
    """256 random bits, as 43 characters that need no quoting."""
    return secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """The SHA-256 of a token, as it is kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def begin(batch: Batch, wanted: Sequence[NewSession]) -> Sequence[SignedIn | Exception]:
    """The writer's handler: signs in, unless the password or the user has been changed since it was looked at."""
    return [_begin(batch, one) for one in wanted]


def see(batch: Batch, seen: Sequence[Seen]) -> Sequence[None]:
    """The writer's handler: notes when sessions were used."""
    for one in seen:
        query = update(sessions).where(sessions.c.id == one.id, sessions.c.seen_at < one.at)
        batch.connection.execute(query.values(seen_at=one.at))
    return [None] * len(seen)


def end(batch: Batch, endings: Sequence[Ending]) -> Sequence[int | Exception]:
    """The writer's handler: signs out; answers with how many sessions ended, or NotFoundError for one."""
    results: list[int | Exception] = []
    for one in endings:
        same = sessions.c.id != one.id if one.others else sessions.c.id == one.id
        ended = batch.connection.execute(delete(sessions).where(sessions.c.user_id == one.user_id, same)).rowcount
        results.append(ended if ended or one.others else NotFoundError("no such session", metadata={"field": "id"}))
    return results


def prune(batch: Batch, times: Sequence[int]) -> Sequence[int]:
    """The writer's handler: forgets sessions that had ended at these times; answers with how many."""
    return [
        batch.connection.execute(
            delete(sessions).where(or_(sessions.c.expires_at <= at, sessions.c.seen_at <= at - IDLE))
        ).rowcount
        for at in times
    ]


def find(connection: Connection, token: str, at: int) -> SignedIn | None:
    """Who a token belongs to at the time `at`; None if it opens nothing."""
    row = connection.execute(
        select(*_COLUMNS, *(users.c[name].label(f"its_{name}") for name in User.__struct_fields__))
        .join(users, users.c.id == sessions.c.user_id)
        .where(
            sessions.c.token_hash == digest_of(token),
            sessions.c.expires_at > at,
            sessions.c.seen_at > at - IDLE,
            users.c.disabled.is_(False),
        )
    ).mappings().one_or_none()  # fmt: skip
    if row is None:
        return None
    user = User(**{name: row[f"its_{name}"] for name in User.__struct_fields__})
    return SignedIn(user, Session(**{name: row[name] for name in Session.__struct_fields__}))


def list_sessions(connection: Connection, user_id: str, at: int) -> list[Session]:
    """A user's live sessions, the last used first."""
    query = select(*_COLUMNS).where(
        sessions.c.user_id == user_id, sessions.c.expires_at > at, sessions.c.seen_at > at - IDLE
    )
    rows = connection.execute(query.order_by(sessions.c.seen_at.desc(), sessions.c.id)).mappings()
    return [Session(**row) for row in rows]


def _begin(batch: Batch, wanted: NewSession) -> SignedIn | Exception:
    connection = batch.connection
    signed_in = update(users).where(
        users.c.id == wanted.user_id, users.c.password_hash == wanted.password_hash, users.c.disabled.is_(False)
    )
    row = connection.execute(
        signed_in.values(last_login_at=wanted.at, password_hash=wanted.rehashed or wanted.password_hash)
        .returning(*(users.c[name] for name in User.__struct_fields__))
    ).mappings().one_or_none()  # fmt: skip
    if row is None:
        return AuthenticationError("The email or the password is wrong")
    _make_room(connection, wanted.user_id)
    session = Session(
        id=f"sess_{secrets.token_hex(12)}",
        user_id=wanted.user_id,
        created_at=wanted.at,
        seen_at=wanted.at,
        expires_at=wanted.at + LONGEST,
        user_agent=_told(wanted.user_agent),
    )
    connection.execute(insert(sessions), {"token_hash": wanted.digest, **msgspec.structs.asdict(session)})
    return SignedIn(User(**row), session)


def _make_room(connection: Connection, user_id: str) -> None:
    mine = sessions.c.user_id == user_id
    count = connection.execute(select(func.count()).select_from(sessions).where(mine)).scalar_one()
    if count >= MOST:
        oldest = select(sessions.c.id).where(mine).order_by(sessions.c.seen_at).limit(count - MOST + 1)
        connection.execute(delete(sessions).where(sessions.c.id.in_(oldest)))


def _told(user_agent: str | None) -> str | None:
    """What a browser says of itself, printable and bounded."""
    return "".join(letter for letter in user_agent if letter.isprintable())[:_LONGEST_AGENT] if user_agent else None
