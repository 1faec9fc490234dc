"""The ledger as a request meets it: hold, settle, give back."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.sql.dml import ReturningDelete

from embedrouter.errors import (
    EmbedRouterError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitExceededError,
    StoreUnavailableError,
)
from embedrouter.ledger import generations, holds
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.headroom import Expected, Headroom
from embedrouter.ledger.holds import Hold, Room
from embedrouter.ledger.payer import Payer
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.statement import Into, Statement
from embedrouter.store.tables import holds as holds_table
from embedrouter.store.tables import instances

log = logging.getLogger(__name__)

T = TypeVar("T")

DEAD_AFTER: Final = 10_000_000  # microseconds without a sign of life after which a process's holds are released
_PATIENCE: Final = 8.0  # seconds a request waits for the writer
_PAID_TOGETHER: Final = 1024  # writes
_PAID_A_BEAT: Final = 8  # times that many; then the keeper has other things to do
REFUSALS: Final = (PaymentRequiredError, PermissionDeniedError, RateLimitExceededError)  # by a limit
_OWED: Final = 50_000  # writes that wait for the database to come back


class Instance(NamedTuple):
    """This process, as others see it."""

    id: str
    host: str
    pid: int
    started_at: int  # microseconds


def now() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Ledger:
    """One a process. Its methods belong to the event loop, `beat` and `close` to any thread."""

    def __init__(self, database: Database, writer: Writer, instance: Instance) -> None:
        self.database = database
        self.writer = writer
        self.instance = instance
        self._waits = database.durability != "async"
        self._owed: deque[tuple[Any, Any]] = deque()  # (handler, payload) that must not be lost
        self.headroom = Headroom()
        self._alone = False  # no other process serves this database
        self._running: Counter[int] = Counter()  # requests under way in this process, of keys that may have so many

    def require_up(self) -> None:
        """Raise StoreUnavailableError while the database cannot be written: before work is done that is in vain."""
        if self.writer.failing and (self._waits or len(self._owed) >= _OWED):
            raise StoreUnavailableError("the database cannot be written at the moment; try again", retry_after=2)

    @property
    def may_admit_late(self) -> bool:
        """Whether requests may be admitted with their settlement, in one transaction: answers wait for it."""
        return self._waits

    def is_far(self, one: Expected) -> bool:
        """Whether a request, counted as under way already, surely fits its limits when it will be settled."""
        return self._alone and self._waits and self.headroom.is_far(one, now())

    @contextmanager
    def place(self, payer: Payer) -> Iterator[Payer]:
        """A place among the requests that its key may have under way, while the block runs.

        Gives what the database has to look at yet: a process that is alone counts for itself. Raises
        RateLimitExceededError.
        """
        most, alone, key_id = payer.max_concurrent, self._alone, payer.key_id
        if most is None:
            yield payer
            return
        if alone and self._running[key_id] >= most:
            raise holds.too_many(most)
        self._running[key_id] += 1
        try:
            yield payer._replace(max_concurrent=None) if alone else payer
        finally:
            self._running[key_id] -= 1
            if not self._running[key_id]:
                del self._running[key_id]

    def wanted(self, payer: Payer, generation_id: str, amount: Amount, tokens: int, at: int) -> Hold:
        """What to ask for: money in the periods of `at`, when the request came, but rates as of now."""
        claims = payer.claims(at)
        beside = self.headroom.beside(claims, payer.key_id)
        return Hold(generation_id, self.instance.id, payer, claims, amount, tokens, now(), *beside)

    async def hold(self, payer: Payer, generation_id: str, amount: Amount, tokens: int, at: int) -> Hold:
        """Reserve what a request will cost. Raises PaymentRequiredError, PermissionDeniedError,
        RateLimitExceededError, StoreUnavailableError. A caller that goes away while it waits holds nothing."""
        wanted = self.wanted(payer, generation_id, amount, tokens, at)
        writing = self.writer.write(holds.hold, wanted)
        try:
            return await self._in_time(writing)
        except (asyncio.CancelledError, StoreUnavailableError):
            writing.add_done_callback(lambda _: self.give_back(wanted))
            raise

    async def settle(self, settlement: Settlement, meanwhile: Callable[[], Awaitable[T]]) -> T:
        """Write the generation with its charge; when this returns, it is there. When it raises, it is not, and nothing
        is held. A caller that goes away while it waits is charged. Raises StoreUnavailableError, OverloadedError.

        meanwhile: what to do while the writer commits; its result is returned.
        Where durability is `async` nothing is waited for: what was answered in the last moments can be lost by a kill.
        """
        try:
            writing = self.writer.write(generations.settle, settlement, apart=settlement.beside is not None)
        except EmbedRouterError:
            self._write_surely(generations.void, settlement)
            raise
        if settlement.looks_round:
            writing.add_done_callback(self._saw)
        if not self._waits:
            writing.add_done_callback(lambda done: self._owe(done, _settle_again, settlement))
            try:
                return await meanwhile()
            except Exception:
                self._void(settlement)
                raise
        try:
            done = await meanwhile()
            await self._in_time(writing)
            return done
        except asyncio.CancelledError:
            writing.add_done_callback(lambda done: self._void(settlement) if done.exception() is not None else None)
            raise
        except REFUSALS:
            if settlement.hold is not None:
                self._void(settlement)
            raise
        except Exception:  # it may have been committed all the same
            writing.add_done_callback(lambda done: self._void_after(done, settlement))
            raise

    def give_back(self, hold: Hold) -> None:
        """Release a hold that will not be settled; needs no waiting for."""
        if hold.kept:
            self._write_surely(holds.release, hold.id)

    def note(self, settlement: Settlement) -> None:
        """Write a generation that nobody waits for: of a request that failed or was given up."""
        self._write_surely(_settle_again, settlement)

    def beat(self) -> None:
        """Show that this process lives, release what dead ones held, and write what is owed. Raises
        StoreUnavailableError."""
        self._alone = self.writer.submit(_beat, self.instance).result() == 1
        for _ in range(_PAID_A_BEAT):
            self._pay()

    def close(self) -> None:
        """Write what is owed, and sign off: what is still held by this process is nobody's any more."""
        while self._owed:
            self._pay()
        self.writer.submit(_sign_off, self.instance.id).result()

    async def _in_time(self, writing: "asyncio.Future[T]") -> T:
        """The writer's answer. Raises StoreUnavailableError where it takes too long; it may come to pass yet."""
        if not writing.done():
            try:
                await asyncio.wait((writing,), timeout=_PATIENCE)  # which never cancels it
            finally:
                if not writing.done():
                    writing.add_done_callback(lambda late: late.cancelled() or late.exception())  # told already
        if not writing.done():
            self.writer.failing = True  # until a transaction succeeds: nobody else need wait as long
            raise StoreUnavailableError("the database takes too long at the moment; try again", retry_after=2)
        return writing.result()

    def _saw(self, done: "asyncio.Future[Room]") -> None:
        if not done.cancelled() and done.exception() is None:
            self.headroom.saw(done.result())

    def _pay(self) -> None:
        """Write some of what is owed, together. Raises StoreUnavailableError; then that is owed still."""
        some: list[tuple[Any, Any]] = []
        with suppress(IndexError):  # the keeper and `close` may be at it together
            while len(some) < _PAID_TOGETHER:
                some.append(self._owed.popleft())
        waiting = [self._submitted(*debt) for debt in some]
        unpaid: BaseException | None = None
        for debt, done in zip(some, waiting, strict=True):
            error = done.exception()
            if isinstance(error, StoreUnavailableError):
                self._owed.append(debt)
                unpaid = error
            elif error is not None:
                log.warning("a write that was owed was refused: %s", error)
        if unpaid is not None:
            raise unpaid

    def _submitted(self, handler: Any, payload: Any) -> "Future[Any]":
        try:
            return self.writer.submit(handler, payload)
        except EmbedRouterError as error:
            refused: Future[Any] = Future()
            refused.set_exception(StoreUnavailableError(error.message))
            return refused

    def _void_after(self, done: "asyncio.Future[Any]", settlement: Settlement) -> None:
        if not done.cancelled():
            done.exception()  # told already, by what brought us here
        self._void(settlement)

    def _void(self, settlement: Settlement) -> None:
        self._write_surely(generations.void, settlement)

    def _write_surely(self, handler: Any, payload: Any) -> None:
        try:
            writing = self.writer.write(handler, payload)
        except EmbedRouterError:
            self._owed.append((handler, payload))
            return
        writing.add_done_callback(lambda done: self._owe(done, handler, payload))

    def _owe(self, done: "asyncio.Future[Any]", handler: Any, payload: Any) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StoreUnavailableError):
            self._owed.append((handler, payload))
        elif error is not None:
            log.warning("a write that nobody waits for was refused: %s", error)
            if isinstance(payload, Settlement) and payload.hold is not None:
                self.give_back(payload.hold)


def _settle_again(batch: Batch, settlements: Sequence[Settlement]) -> Sequence[Room | Exception]:
    """What is owed may have been written by the try that seemed to fail."""
    return generations.settle(batch._replace(again=True), settlements)


def _sign_on(into: Into) -> Any:
    added = into(instances)
    return added.on_conflict_do_update(index_elements=[instances.c.id], set_={"seen_at": added.excluded.seen_at})


# Every second, for ever: built once, as building them costs several times what the database does for them.
_SIGN_ON: Final = Statement(_sign_on)
_DEAD: Final = delete(instances).where(instances.c.seen_at < bindparam("before")).returning(instances.c.id)
_RELEASED: Final = (holds_table.c.claims, holds_table.c.amount_pico, holds_table.c.byok_pico)
_LEFT_BEHIND: Final = (
    delete(holds_table).where(holds_table.c.instance_id.not_in(select(instances.c.id))).returning(*_RELEASED)
)
_LIVING: Final = select(func.count()).select_from(instances)


def _beat(batch: Batch, living: Sequence[Instance]) -> Sequence[int]:
    """How many processes live."""
    at = batch.database.now(batch.connection)
    _SIGN_ON.run(batch, [{**instance._asdict(), "seen_at": at} for instance in living])
    for instance_id in batch.connection.execute(_DEAD, {"before": at - DEAD_AFTER}).scalars():
        log.warning("process %s is gone: releasing what it held", instance_id)
    # Also of one that was thought dead, went on, and died before its next sign of life.
    _release(batch, _LEFT_BEHIND)
    return [batch.connection.execute(_LIVING).scalar_one()] * len(living)


def _sign_off(batch: Batch, ids: Sequence[str]) -> Sequence[None]:
    _release(batch, delete(holds_table).where(holds_table.c.instance_id.in_(ids)).returning(*_RELEASED))
    batch.connection.execute(delete(instances).where(instances.c.id.in_(ids)))
    return [None] * len(ids)


def _release(batch: Batch, removal: ReturningDelete[Any]) -> None:
    gone = batch.connection.execute(removal)
    holds.free(batch, [(claims, Amount(*amount)) for claims, *amount in gone])
