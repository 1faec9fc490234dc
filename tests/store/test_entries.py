from collections.abc import Iterator, Sequence

import pytest

from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.entries import Change, Edit, Row, Snapshot, edit, snapshot
from embedrouter.store.migrate import migrate


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def writing(database: Database) -> Iterator[Writer]:
    made = Writer(database)
    yield made
    made.close()


def at_most_two(_: Sequence[Row], after: Sequence[Row]) -> None:
    if len(after) > 2:
        raise InvalidRequestError(f"{len(after)} are too many")


def change(*changes: Change, at: int = 1) -> Edit:
    return Edit(changes, at, "a test", at_most_two)


def slugs(database: Database) -> list[str]:
    return [row.slug for row in database.read_now(snapshot).rows]


def test_changes_hold_together_or_not_at_all(database: Database, writing: Writer) -> None:
    one, two, three = (Change("provider", slug, "{}") for slug in ("one", "two", "three"))
    assert writing.submit(edit, change(one)).result().revision == 1
    with pytest.raises(InvalidRequestError, match="3 are too many"):
        writing.submit(edit, change(two, three)).result()
    with pytest.raises(NotFoundError):
        writing.submit(edit, change(two, Change("provider", "four", None))).result()
    assert database.read_now(snapshot) == Snapshot(1, (Row("provider", "one", "{}", 1, "a test"),))


def test_changes_that_wait_together_are_judged_one_after_the_other(database: Database, writing: Writer) -> None:
    wanted = [writing.submit(edit, change(Change("provider", f"p{number}", "{}"))) for number in range(5)]
    refused = [future.exception() for future in wanted]
    assert [error is None for error in refused] == [True, True, False, False, False]
    assert slugs(database) == ["p0", "p1"]


def test_a_row_is_replaced_and_taken_away(database: Database, writing: Writer) -> None:
    writing.submit(edit, change(Change("model", "a/b", "{}"))).result()
    after = writing.submit(edit, change(Change("model", "a/b", '{"x":1}'), at=2)).result()
    assert after == database.read_now(snapshot) == Snapshot(2, (Row("model", "a/b", '{"x":1}', 2, "a test"),))
    writing.submit(edit, change(Change("model", "a/b", None))).result()
    assert database.read_now(snapshot) == Snapshot(3, ())


def test_a_removal_that_was_done_before_the_connection_broke_is_done(writing: Writer) -> None:
    def again(batch: Batch, edits: Sequence[Edit]) -> Sequence[Snapshot | Exception]:
        return edit(batch._replace(again=True), edits)

    assert writing.submit(again, change(Change("model", "a/b", None))).result().rows == ()
