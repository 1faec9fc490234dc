"""One-time links by which somebody who forgot his password chooses a new one. Administrators hand them out."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from embedrouter.accounts import users
from embedrouter.accounts.invites import LASTS, no_longer_valid
from embedrouter.accounts.sessions import digest_of
from embedrouter.accounts.users import PasswordChange, User
from embedrouter.errors import EmbedRouterError
from embedrouter.store import Batch
from embedrouter.store.tables import invites

_PURPOSE: Final = "reset"  # of rows of `invites`; `created_by` is whose password it is, so the link goes with him


class NewReset(NamedTuple):
    """A link to make; the ones that the user had before are void."""

    digest: str
    user_id: str
    at: int


class Reset(NamedTuple):
    """A link used. `password_hash`: of the new password."""

    token: str
    password_hash: str
    at: int


def make(batch: Batch, wanted: Sequence[NewReset]) -> Sequence[int | Exception]:
    """The writer's handler: makes links; until when each is good, in microseconds."""
    return [_make(batch, one) for one in wanted]


def redeem(batch: Batch, wanted: Sequence[Reset]) -> Sequence[User | Exception]:
    """The writer's handler: changes passwords, ends the users' sessions and voids the links."""
    return [_redeem(batch, one) for one in wanted]


def find(connection: Connection, token: str, at: int) -> User | None:
    """Whose password a link changes at the time `at`; None for one that is wrong, used, voided or expired."""
    query = select(invites.c.created_by).where(
        invites.c.token_hash == digest_of(token), invites.c.purpose == _PURPOSE, invites.c.expires_at > at
    )
    id_ = connection.execute(query).scalar_one_or_none()
    user = None if id_ is None else users.find(connection, id_)
    return None if user is None or user.disabled else user


def _make(batch: Batch, wanted: NewReset) -> int | Exception:
    try:
        user = users.find(batch.connection, wanted.user_id)
    except EmbedRouterError as error:
        return error
    _forget(batch, user.id)
    expires = wanted.at + LASTS
    row = {
        "token_hash": wanted.digest,
        "purpose": _PURPOSE,
        "role": user.role,
        "created_by": user.id,
        "created_at": wanted.at,
        "expires_at": expires,
    }
    batch.connection.execute(insert(invites), row)
    return expires


def _redeem(batch: Batch, wanted: Reset) -> User | Exception:
    user = find(batch.connection, wanted.token, wanted.at)
    if user is None:
        return no_longer_valid()
    (changed,) = users.change_password(batch, [PasswordChange(user.id, wanted.password_hash, wanted.at)])
    _forget(batch, user.id)
    return changed


def _forget(batch: Batch, user_id: str) -> None:
    mine = (invites.c.purpose == _PURPOSE) & (invites.c.created_by == user_id)
    batch.connection.execute(delete(invites).where(mine))
