"""Throttling of logins, by account name and by address, in the database that all processes share.

An attempt counts as failed before its password is looked at, and is forgiven if it was right: so also a thousand
attempts at once are no more than the first few. Names that no user has are counted alike.
"""

import hashlib
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from sqlalchemy import delete, select, update

from embedrouter.errors import RateLimitExceededError
from embedrouter.periods import DAY, SECOND
from embedrouter.store import Batch
from embedrouter.store.tables import login_failures

OF_ACCOUNT: Final = 5  # failures after which an account's next attempt waits
OF_ADDRESS: Final = 20
LONGEST: Final = 900  # seconds
_FORGOTTEN: Final = DAY * SECOND  # microseconds after the last failure


class Attempt(NamedTuple):
    """A login to be: by which name, from where."""

    account: str
    address: str


class _Subject(NamedTuple):
    hash: str
    free: int  # failures without a delay


def count(batch: Batch, attempts: Sequence[Attempt]) -> Sequence[Exception | None]:
    """The writer's handler: counts attempts as failed ones, or RateLimitExceededError for one that came too early."""
    return [_count(batch, one) for one in attempts]


def forgive(batch: Batch, attempts: Sequence[Attempt]) -> Sequence[None]:
    """The writer's handler: the password was right, the account starts anew, the address has one failure less."""
    for one in attempts:
        account, address = _subjects(one)
        batch.connection.execute(delete(login_failures).where(login_failures.c.subject_hash == account.hash))
        _take_back(batch, address)
    return [None] * len(attempts)


def take_back(batch: Batch, attempts: Sequence[Attempt]) -> Sequence[None]:
    """The writer's handler: nobody looked at the password, so the attempt was none."""
    for one in attempts:
        for subject in _subjects(one):
            _take_back(batch, subject)
    return [None] * len(attempts)


def prune(batch: Batch, times: Sequence[int]) -> Sequence[int]:
    """The writer's handler: forgets failures that were a day old at these times."""
    return [
        batch.connection.execute(
            delete(login_failures).where(login_failures.c.updated_at <= at - _FORGOTTEN)
        ).rowcount
        for at in times
    ]  # fmt: skip


def delay(failures: int, free: int) -> int:
    """Seconds to wait after this many failures: none, then 1, 2, 4 ... up to a quarter of an hour."""
    return 0 if failures < free else min(LONGEST, 1 << min(failures - free, 30))


def _count(batch: Batch, attempt: Attempt) -> Exception | None:
    at = batch.database.now(batch.connection)
    found: list[tuple[_Subject, int]] = []
    until = 0
    for subject in _subjects(attempt):
        row = batch.connection.execute(
            select(login_failures).where(
                login_failures.c.subject_hash == subject.hash, login_failures.c.updated_at > at - _FORGOTTEN
            )
        ).one_or_none()
        found.append((subject, 0 if row is None else row.failures))
        until = max(until, 0 if row is None else row.blocked_until)
    if at < until:
        wait = -(-(until - at) // SECOND)
        return RateLimitExceededError(f"too many failed attempts to sign in; try again in {wait} s", retry_after=wait)
    for subject, failures in found:
        row_ = {
            "failures": failures + 1,
            "blocked_until": at + delay(failures + 1, subject.free) * SECOND,
            "updated_at": at,
        }
        insertion = batch.database.insert(login_failures).values(subject_hash=subject.hash, **row_)
        batch.connection.execute(
            insertion.on_conflict_do_update(index_elements=[login_failures.c.subject_hash], set_=row_)
        )
    return None


def _take_back(batch: Batch, subject: _Subject) -> None:
    one = login_failures.c.subject_hash == subject.hash
    batch.connection.execute(
        update(login_failures)
        .where(one, login_failures.c.failures > 0)
        .values(failures=login_failures.c.failures - 1, blocked_until=0)
    )


def _subjects(attempt: Attempt) -> tuple[_Subject, _Subject]:
    return _Subject(_hash("account", attempt.account), OF_ACCOUNT), _Subject(
        _hash("address", _network(attempt.address)), OF_ADDRESS
    )


def _network(address: str) -> str:
    """Who has one IPv6 address has 2**64 of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> 64)
    return str(parsed)


def _hash(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
