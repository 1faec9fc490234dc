"""A reception on a real database, with a cheap hash, for tests of accounts."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import update

from embedrouter.accounts import users
from embedrouter.accounts.passwords import Cost, Passwords
from embedrouter.accounts.reception import Opened, Origin, Reception
from embedrouter.accounts.users import NewUser, Role, User
from embedrouter.ledger.book import now
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.migrate import migrate

T = TypeVar("T")

PASSWORD = "correct horse battery staple"
HERE = Origin("192.0.2.1", "a browser")


class House:
    """One process's part of an installation."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        migrate(self.database)
        self.writer = Writer(self.database)
        self.passwords = Passwords(Cost(1, 8))
        self.reception = Reception(self.database, self.writer, self.passwords)

    def user(self, email: str, role: Role = "member", password: str = PASSWORD) -> User:
        """A new user."""
        wanted = NewUser(email, "", self.passwords.hashed(password), role, now())
        return self.writer.submit(users.create, wanted).result()

    def sign_in(self, email: str, password: str = PASSWORD, origin: Origin = HERE) -> Opened:
        return self.run(self.reception.sign_in(email, password, origin))

    def who(self, token: str) -> User | None:
        found = self.run(self.reception.who(token))
        return found and found.user

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def set_times(self, table: Any, **values: int) -> None:
        """Rewrite the times of all rows of a table, as if they had come to be then."""

        def handler(batch: Batch, _: Any) -> list[None]:
            batch.connection.execute(update(table).values(**values))
            return [None]

        self.writer.submit(handler, None).result()

    def close(self) -> None:
        self.reception.close()
        self.writer.close()
        self.database.close()


@contextmanager
def house(url: str) -> Iterator[House]:
    opened = House(url)
    try:
        yield opened
    finally:
        opened.close()
