"""One-time links: the first administrator's, printed at start, and invitations that administrators hand out."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

from sqlalchemy import Connection, delete, insert, select

from embedrouter.accounts import users
from embedrouter.accounts.sessions import digest_of
from embedrouter.accounts.users import NewUser, Role, User
from embedrouter.errors import ConflictError, NotFoundError
from embedrouter.periods import DAY, SECOND
from embedrouter.store import Batch
from embedrouter.store.tables import invites

LASTS: Final = DAY * SECOND  # microseconds
_MOST: Final = 1000  # open invitations

Purpose = Literal["setup", "invite"]


class NewInvite(NamedTuple):
    """A link to make. `created_by` is a user's id; None for who runs the server."""

    digest: str
    purpose: Purpose
    role: Role
    at: int
    created_by: str | None = None


class Invite(NamedTuple):
    """What a link is good for."""

    role: Role
    purpose: Purpose
    expires_at: int  # microseconds


class Redemption(NamedTuple):
    """A link used: who it becomes. The user's role is the link's."""

    token: str
    user: NewUser


def make(batch: Batch, wanted: Sequence[NewInvite]) -> Sequence[Invite | Exception | None]:
    """The writer's handler: makes links. One for setup voids those before, and is None once there is an admin."""
    return [_make(batch, one) for one in wanted]


def redeem(batch: Batch, wanted: Sequence[Redemption]) -> Sequence[User | Exception]:
    """The writer's handler: makes each link's user, and voids the link."""
    return [_redeem(batch, one) for one in wanted]


def prune(batch: Batch, times: Sequence[int]) -> Sequence[int]:
    """The writer's handler: forgets links that had expired at these times."""
    return [batch.connection.execute(delete(invites).where(invites.c.expires_at <= at)).rowcount for at in times]


def find(connection: Connection, token: str, at: int) -> Invite | None:
    """What a link is good for at the time `at`; None for one that is wrong, used, voided or expired."""
    query = select(invites.c.role, invites.c.purpose, invites.c.expires_at).where(
        invites.c.token_hash == digest_of(token), invites.c.expires_at > at, invites.c.purpose.in_(get_args(Purpose))
    )
    row = connection.execute(query).one_or_none()
    if row is None or (row.purpose == "setup" and users.admins(connection)):
        return None
    return Invite(*row)


def no_longer_valid() -> NotFoundError:
    """The one answer to all links that open nothing."""
    return NotFoundError(
        "this link is not valid: it was used, replaced by a newer one or is older than 24 hours; ask for another"
    )


def _make(batch: Batch, wanted: NewInvite) -> Invite | Exception | None:
    if wanted.purpose == "setup":
        if users.admins(batch.connection):
            return None
        batch.connection.execute(delete(invites).where(invites.c.purpose == "setup"))
    prune(batch, [wanted.at])
    if len(batch.connection.execute(select(invites.c.role).limit(_MOST)).all()) >= _MOST:
        return ConflictError(f"there are {_MOST} open invitations; they end after 24 hours")
    made = Invite(wanted.role, wanted.purpose, wanted.at + LASTS)
    row = {
        "token_hash": wanted.digest,
        "purpose": made.purpose,
        "role": made.role,
        "created_by": wanted.created_by,
        "created_at": wanted.at,
        "expires_at": made.expires_at,
    }
    batch.connection.execute(insert(invites), row)
    return made


def _redeem(batch: Batch, wanted: Redemption) -> User | Exception:
    invite = find(batch.connection, wanted.token, wanted.user.at)
    if invite is None:
        return no_longer_valid()
    (made,) = users.create(batch, [wanted.user._replace(role=invite.role)])
    if isinstance(made, User):  # else the link stays good for another email
        batch.connection.execute(delete(invites).where(invites.c.token_hash == digest_of(wanted.token)))
    return made
