"""Users: people who sign in. An administrator may everything; a member sees what he owns.

At least one administrator who is not disabled always stays. Writers take turns, so that two requests that each take
away another one cannot both pass.
"""

import secrets
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from embedrouter.errors import ConflictError, InvalidRequestError, NotFoundError
from embedrouter.store import Batch
from embedrouter.store.tables import invites, sessions, users

Role = Literal["admin", "member"]

_LONGEST_EMAIL: Final = 320  # characters
_LONGEST_NAME: Final = 200
_COLUMNS: Final = tuple(column for column in users.c if column.name != "password_hash")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `users`, but for the password's hash. Times are microseconds."""

    id: str
    email: str
    name: str
    role: Role
    disabled: bool
    created_at: int
    updated_at: int
    last_login_at: int | None

    @property
    def is_admin(self) -> bool:
        """Whether he may everything."""
        return self.role == "admin" and not self.disabled

    @property
    def sees_only(self) -> str | None:
        """Whose keys, usage and batches he may see: his own, by his id; None: everybody's."""
        return None if self.is_admin else self.id


class NewUser(NamedTuple):
    """Who to make. `email` and `name` as `normal_email` and `normal_name` give them."""

    email: str
    name: str
    password_hash: str
    role: Role
    at: int


class UserChange(NamedTuple):
    """New values of one user; None leaves one as it is."""

    id: str
    at: int
    role: Role | None = None
    disabled: bool | None = None
    name: str | None = None


class PasswordChange(NamedTuple):
    """A new password. All sessions end but `keep_session` (its id); `old_hash` must still be the stored one."""

    id: str
    password_hash: str
    at: int
    old_hash: str | None = None
    keep_session: str | None = None


class Credentials(NamedTuple):
    """What a login is checked against."""

    user: User
    password_hash: str


def normal_email(text: str) -> str:
    """An email address in its one spelling. Raises InvalidRequestError."""
    email = unicodedata.normalize("NFC", text.strip()).lower()
    name, _, host = email.rpartition("@")
    if not name or not host or len(email) > _LONGEST_EMAIL or not email.isprintable() or " " in email or "@" in name:
        raise InvalidRequestError(
            f"email: expected an address like name@example.org, at most {_LONGEST_EMAIL} characters",
            metadata={"field": "email"},
        )
    return email


def normal_name(text: str) -> str:
    """A person's name on one line. Raises InvalidRequestError."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequestError(
            f"name: expected at most {_LONGEST_NAME} printable characters", metadata={"field": "name"}
        )
    return name


def create(batch: Batch, wanted: Sequence[NewUser]) -> Sequence[User | Exception]:
    """The writer's handler: makes users."""
    return [_create(batch, one) for one in wanted]


def change(batch: Batch, changes: Sequence[UserChange]) -> Sequence[User | Exception]:
    """The writer's handler: changes users. Who is disabled is signed out."""
    return [_change(batch, one) for one in changes]


def change_password(batch: Batch, changes: Sequence[PasswordChange]) -> Sequence[User | Exception]:
    """The writer's handler: changes passwords, and signs out whoever used the old one."""
    return [_change_password(batch, one) for one in changes]


def remove(batch: Batch, ids: Sequence[str]) -> Sequence[User | Exception]:
    """The writer's handler: deletes users with their sessions and invitations; their keys stay, without an owner."""
    return [_remove(batch, one) for one in ids]


def find(connection: Connection, id_: str) -> User:
    """One user by id. Raises NotFoundError."""
    row = connection.execute(select(*_COLUMNS).where(users.c.id == safe_id(id_))).mappings().one_or_none()
    if row is None:
        raise _not_found()
    return User(**row)


def find_by_email(connection: Connection, email: str) -> Credentials | None:
    """A user with his password's hash, by the email in its one spelling."""
    row = connection.execute(select(users).where(users.c.email == email)).mappings().one_or_none()
    if row is None:
        return None
    values = dict(row)
    hash_ = values.pop("password_hash")
    return Credentials(User(**values), hash_)


def list_users(connection: Connection, *, limit: int = 1000, offset: int = 0) -> list[User]:
    """The oldest first."""
    query = select(*_COLUMNS).order_by(users.c.created_at, users.c.id).limit(limit).offset(offset)
    return [User(**row) for row in connection.execute(query).mappings()]


def admins(connection: Connection) -> set[str]:
    """Ids of all who may administrate."""
    query = select(users.c.id).where(users.c.role == "admin", users.c.disabled.is_(False))
    return set(connection.execute(query).scalars())


def _create(batch: Batch, wanted: NewUser) -> User | Exception:
    known = select(users.c.id).where(users.c.email == wanted.email)
    if batch.connection.execute(known).first() is not None:
        return ConflictError("a user with this email exists already", metadata={"field": "email"})
    values: dict[str, Any] = {
        "id": f"user_{secrets.token_hex(12)}",
        "email": wanted.email,
        "name": wanted.name,
        "role": wanted.role,
        "disabled": False,
        "created_at": wanted.at,
        "updated_at": wanted.at,
        "last_login_at": None,
    }
    batch.connection.execute(insert(users), {**values, "password_hash": wanted.password_hash})
    return User(**values)


def _change(batch: Batch, wanted: UserChange) -> User | Exception:
    taken = wanted.role == "member" or wanted.disabled is True
    if taken and admins(batch.connection) == {wanted.id}:
        return _last("disabled or demoted")
    values = {name: value for name in ("role", "disabled", "name") if (value := getattr(wanted, name)) is not None}
    query = update(users).where(users.c.id == safe_id(wanted.id)).values(**values, updated_at=wanted.at)
    row = batch.connection.execute(query.returning(*_COLUMNS)).mappings().one_or_none()
    if row is None:
        return _not_found()
    if wanted.disabled:
        batch.connection.execute(delete(sessions).where(sessions.c.user_id == wanted.id))
    if taken:  # what he invited to would outlast his right to invite
        batch.connection.execute(delete(invites).where(invites.c.created_by == wanted.id))
    return User(**row)


def _change_password(batch: Batch, wanted: PasswordChange) -> User | Exception:
    query = update(users).where(users.c.id == safe_id(wanted.id))
    if wanted.old_hash is not None:
        query = query.where(users.c.password_hash == wanted.old_hash)
    changed = query.values(password_hash=wanted.password_hash, updated_at=wanted.at).returning(*_COLUMNS)
    row = batch.connection.execute(changed).mappings().one_or_none()
    if row is None:
        if wanted.old_hash is not None:
            return ConflictError("the password was changed meanwhile; sign in again")
        return _not_found()
    ended = delete(sessions).where(sessions.c.user_id == wanted.id)
    if wanted.keep_session is not None:
        ended = ended.where(sessions.c.id != wanted.keep_session)
    batch.connection.execute(ended)
    return User(**row)


def _remove(batch: Batch, id_: str) -> User | Exception:
    if admins(batch.connection) == {id_}:
        return _last("deleted")
    # The database would do these, too; but only while it checks foreign keys.
    batch.connection.execute(delete(sessions).where(sessions.c.user_id == safe_id(id_)))
    batch.connection.execute(delete(invites).where(invites.c.created_by == safe_id(id_)))
    row = batch.connection.execute(delete(users).where(users.c.id == safe_id(id_)).returning(*_COLUMNS)).mappings()
    gone = row.one_or_none()
    return _not_found() if gone is None else User(**gone)


def safe_id(text: str) -> str:
    """An id from outside, without what a database cannot hold."""
    return text if text.isascii() and text.isprintable() else ""


def _last(what: str) -> ConflictError:
    return ConflictError(f"the last administrator cannot be {what}; make another user administrator first")


def _not_found() -> NotFoundError:
    return NotFoundError("no such user", metadata={"field": "id"})
