"""Where people sign in and out: passwords, throttling, sessions and invitations in their right order. Knows no HTTP."""

import asyncio
import logging
from typing import Any, Final, NamedTuple

from embedrouter.accounts import invites, login, resets, sessions, users
from embedrouter.accounts.invites import Invite, NewInvite, Redemption
from embedrouter.accounts.login import Attempt
from embedrouter.accounts.passwords import Passwords, acceptable
from embedrouter.accounts.resets import NewReset, Reset
from embedrouter.accounts.sessions import Ending, NewSession, Seen, Session, SignedIn, digest_of, new_token
from embedrouter.accounts.users import Credentials, NewUser, PasswordChange, Role, User, UserChange
from embedrouter.errors import AuthenticationError, EmbedRouterError, InvalidRequestError, OverloadedError
from embedrouter.ledger.book import now
from embedrouter.store import Database, Writer

log = logging.getLogger(__name__)

_WRONG: Final = "The email or the password is wrong"


class Origin(NamedTuple):
    """Where a request to sign in comes from."""

    address: str
    user_agent: str | None


class Opened(NamedTuple):
    """A new session; the token is told this once."""

    token: str
    signed_in: SignedIn


class Link(NamedTuple):
    """A new one-time link; the token is told this once."""

    token: str
    invite: Invite


class Reception:
    """Everything that people do with their accounts. One a process."""

    def __init__(self, database: Database, writer: Writer, passwords: Passwords) -> None:
        self._database = database
        self._writer = writer
        self._passwords = passwords

    # --- signing in and out

    async def sign_in(self, email: str, password: str, origin: Origin) -> Opened:
        """Open a session. Unknown names, wrong passwords and disabled users meet the same work and the same answer.

        Raises AuthenticationError, RateLimitExceededError, OverloadedError, StoreUnavailableError.
        """
        try:
            email = users.normal_email(email)
        except InvalidRequestError:
            email, known = email[:400], None  # nobody's, and maybe nothing that a database could look for
        else:
            known = await self._database.read(lambda connection: users.find_by_email(connection, email))
        rehashed = await self._proved(Attempt(email, origin.address), known, password)
        assert known is not None
        return await self._open(known, origin, rehashed)

    async def sign_out(self, signed_in: SignedIn) -> None:
        """End the session that asks."""
        await self.end_session(signed_in.user, signed_in.session.id)

    async def who(self, token: str) -> SignedIn | None:
        """Who a token belongs to; None if it opens nothing (any more)."""
        at = now()
        found = await self._database.read(lambda connection: sessions.find(connection, token, at))
        if found is not None and found.session.seen_at <= at - sessions.SEEN_EVERY:
            self._writer.write(sessions.see, Seen(found.session.id, at)).add_done_callback(_told)
        return found

    async def sessions_of(self, user: User) -> list[Session]:
        """His live sessions, the last used first."""
        return await self._database.read(lambda connection: sessions.list_sessions(connection, user.id, now()))

    async def end_session(self, user: User, id_: str) -> None:
        """End one of his sessions. Raises NotFoundError, also for somebody else's."""
        await self._writer.write(sessions.end, Ending(user.id, users.safe_id(id_)))

    async def end_others(self, signed_in: SignedIn) -> int:
        """End all his sessions but the one that asks; how many there were."""
        ending = Ending(signed_in.user.id, signed_in.session.id, others=True)
        return await self._writer.write(sessions.end, ending)

    async def change_password(self, signed_in: SignedIn, current: str, new: str, origin: Origin) -> None:
        """Raises InvalidRequestError, and as `sign_in` does: a stolen session must not let its thief guess."""
        user = signed_in.user
        chosen = acceptable(new, user.email)
        known = await self._database.read(lambda connection: users.find_by_email(connection, user.email))
        try:
            await self._proved(Attempt(user.email, origin.address), known, current)
        except AuthenticationError as error:
            raise InvalidRequestError(
                "current_password: this is not your password", metadata={"field": "current_password"}
            ) from error
        assert known is not None
        hash_ = await self._passwords.hash(chosen)
        change = PasswordChange(user.id, hash_, now(), known.password_hash, signed_in.session.id)
        await self._writer.write(users.change_password, change)

    # --- invitations

    async def invite(self, role: Role, by: User) -> Link:
        """A link by which somebody becomes a user. Raises ConflictError."""
        token = new_token()
        made = await self._writer.write(invites.make, NewInvite(digest_of(token), "invite", role, now(), by.id))
        assert made is not None
        return Link(token, made)

    async def invitation(self, token: str) -> Invite:
        """What a link is good for. Raises NotFoundError."""
        found = await self._database.read(lambda connection: invites.find(connection, token, now()))
        if found is None:
            raise invites.no_longer_valid()
        return found

    async def redeem(self, token: str, email: str, name: str, password: str, origin: Origin) -> Opened:
        """Become a user by a link, and sign in. Raises NotFoundError, InvalidRequestError, ConflictError."""
        await self.invitation(token)  # before any work is done for whoever has none
        email, name = users.normal_email(email), users.normal_name(name)
        hash_ = await self._passwords.hash(acceptable(password, email))
        wanted = Redemption(token, NewUser(email, name, hash_, "member", now()))
        user = await self._writer.write(invites.redeem, wanted)
        return await self._open(Credentials(user, hash_), origin, None)

    # --- for administrators

    async def users(self) -> list[User]:
        """Everybody, the oldest first."""
        return await self._database.read(users.list_users)

    async def change_user(self, change: UserChange) -> User:
        """Raises NotFoundError, and ConflictError for the last administrator."""
        return await self._writer.write(users.change, change)

    async def remove_user(self, id_: str) -> User:
        """Raises NotFoundError, and ConflictError for the last administrator."""
        return await self._writer.write(users.remove, id_)

    async def reset_link(self, user: User) -> str:
        """The token of a link by which he chooses a new password, told this once; links he had are void."""
        token = new_token()
        await self._writer.write(resets.make, NewReset(digest_of(token), user.id, now()))
        return token

    # --- for who forgot his password

    async def resetting(self, token: str) -> User:
        """Whose password a link changes. Raises NotFoundError."""
        found = await self._database.read(lambda connection: resets.find(connection, token, now()))
        if found is None:
            raise invites.no_longer_valid()
        return found

    async def reset(self, token: str, password: str) -> User:
        """A new password by a link; he is signed out everywhere. Raises NotFoundError, InvalidRequestError."""
        user = await self.resetting(token)  # before any work is done for whoever has none
        hash_ = await self._passwords.hash(acceptable(password, user.email))
        return await self._writer.write(resets.redeem, Reset(token, hash_, now()))

    # --- for the keeper

    def tidy(self) -> None:
        """Forget what is over: sessions, links, failures. Raises StoreUnavailableError."""
        at = now()
        for handler in (sessions.prune, invites.prune, login.prune):
            self._writer.submit(handler, at).result()

    def close(self) -> None:
        """Look at no more passwords."""
        self._passwords.close()

    async def _proved(self, attempt: Attempt, known: Credentials | None, password: str) -> str | None:
        """A new hash of the right password, if it should have one. Raises as `sign_in` does."""
        await self._writer.write(login.count, attempt)
        try:
            checked = await self._passwords.check(known and known.password_hash, password)
        except OverloadedError:
            await self._writer.write(login.take_back, attempt)
            raise
        if not checked.right or known is None or known.user.disabled:
            raise AuthenticationError(_WRONG)
        await self._writer.write(login.forgive, attempt)
        return checked.rehashed

    async def _open(self, known: Credentials, origin: Origin, rehashed: str | None) -> Opened:
        token = new_token()
        wanted = NewSession(
            digest_of(token), known.user.id, known.password_hash, now(), origin.user_agent, rehashed
        )  # fmt: skip
        return Opened(token, await self._writer.write(sessions.begin, wanted))


def setup_link(writer: Writer) -> str | None:
    """The token of a new link for the first administrator, which voids the one before; None once there is one."""
    token = new_token()
    made = writer.submit(invites.make, NewInvite(digest_of(token), "setup", "admin", now())).result()
    return None if made is None else token


def _told(future: "asyncio.Future[Any]") -> None:
    """Nobody waits for it; that a session was used is known exactly enough without it."""
    if not future.cancelled() and isinstance(error := future.exception(), EmbedRouterError):
        log.warning("a session's use could not be noted: %s", error.message)
