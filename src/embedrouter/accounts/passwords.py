"""Passwords: what is accepted as one, and argon2id, in a few threads that a flood of logins cannot multiply."""

import asyncio
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final, NamedTuple, ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from embedrouter.errors import InvalidRequestError, OverloadedError

Parameters = ParamSpec("Parameters")
T = TypeVar("T")

SHORTEST: Final = 12  # characters
LONGEST: Final = 256
_THREADS: Final = 2  # each takes 64 MiB and a core for 0.2 s
_WAITING: Final = 16  # beyond, logins are refused with 503
_SALT: Final = b"nobody's salt..."  # of a hash that no password is stored as


class Cost(NamedTuple):
    """What hashing one password takes."""

    passes: int = 3
    memory_kib: int = 64 * 1024


class Checked(NamedTuple):
    """What looking at a password gave. `rehashed`: its new hash, when the stored one was made at another cost."""

    right: bool
    rehashed: str | None


class Passwords:
    """Hashes and checks passwords; thread-safe. Hashes carry their own salt and cost."""

    def __init__(self, cost: Cost = Cost()) -> None:  # noqa: B008 (immutable)
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="embedrouter-password")
        self._lock = threading.Lock()
        self._taken = 0
        self.checks = 0  # passwords looked at, of nobody's included

    def hashed(self, password: str) -> str:
        """The hash of a password that `acceptable` gave, made in this thread."""
        return self._hasher.hash(password)

    async def hash(self, password: str) -> str:
        """The same in a thread. Raises OverloadedError when too many wait."""
        return await self._in_thread(self.hashed, password)

    async def check(self, stored: str | None, password: str) -> Checked:
        """Whether a password is the stored one's; without one, the same work for nothing. Raises OverloadedError."""
        return await self._in_thread(self._check, stored, password)

    def close(self) -> None:
        """Stop the threads; nothing may be asked afterwards."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, stored: str | None, password: str) -> Checked:
        self.checks += 1
        nobodys = self._nobodys  # also where it is not needed: who makes it tells nobody who exists
        try:
            self._hasher.verify(stored or nobodys, normal(password))
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return Checked(False, None)
        if stored is None or not self._hasher.check_needs_rehash(stored):
            return Checked(stored is not None, None)
        return Checked(True, self._hasher.hash(normal(password)))

    @cached_property
    def _nobodys(self) -> str:
        """What is checked where nothing is stored. Made with the first check, as it takes as long."""
        return self._hasher.hash("nobody's password", salt=_SALT)

    async def _in_thread(self, work: Callable[Parameters, T], *given: Parameters.args, **named: Parameters.kwargs) -> T:
        with self._lock:
            if self._taken >= _THREADS + _WAITING:
                raise OverloadedError("too many people sign in at once; try again", retry_after=2)
            self._taken += 1
        future = self._threads.submit(work, *given, **named)
        future.add_done_callback(self._left)  # also when it is cancelled before it began
        return await asyncio.wrap_future(future)

    def _left(self, _: object) -> None:
        with self._lock:
            self._taken -= 1


def normal(password: str) -> str:
    """One spelling (NFC), so that it does not matter how a keyboard composes its letters."""
    return unicodedata.normalize("NFC", password)


def acceptable(password: str, email: str) -> str:
    """A new password in its one spelling. Raises InvalidRequestError saying what would be right."""
    found = normal(password)
    if not SHORTEST <= len(found) <= LONGEST:
        raise _refused(f"must have {SHORTEST} to {LONGEST} characters; a few random words are a good one")
    if found.casefold() == email.casefold():
        raise _refused("must not be the email address")
    if any("\ud800" <= letter <= "\udfff" for letter in found):
        raise _refused("is not valid Unicode")
    return found


def _refused(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"password: {what}", metadata={"field": "password"})
