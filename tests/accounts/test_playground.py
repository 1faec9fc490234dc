"""The key of a person's Playground, on both databases."""

from pathlib import Path

from accounts.house import House, house
from embedrouter.accounts import first, keys, playground
from embedrouter.accounts.keys import ApiKey, KeyChange
from embedrouter.accounts.playground import Wanted


def _prepare(home: House, folder: Path) -> str:
    """What a key needs; the id of a user."""
    first.prepare(home.writer, first.Wanted(None, None, False, folder))
    return home.user("one@example.org").id


def _find(home: House, owner: str) -> ApiKey | None:
    return home.run(home.database.read(lambda connection: playground.find(connection, owner)))


def test_two_processes_make_one_key(home: House, database_url: str, tmp_path: Path) -> None:
    owner = _prepare(home, tmp_path)
    with house(database_url) as other:
        asked = [one.writer.submit(playground.make, Wanted(owner, 5)) for one in (home, other, home, other)]
        made = {future.result().id for future in asked}
    assert len(made) == 1
    found = _find(home, owner)
    assert found is not None
    assert (found.id, found.name, found.owner_id, found.management) == (*made, "Playground", owner, False)


def test_everybody_has_his_own_and_a_deleted_one_is_made_anew(home: House, tmp_path: Path) -> None:
    owner, other = _prepare(home, tmp_path), home.user("two@example.org").id
    his = home.writer.submit(playground.make, Wanted(owner, 5)).result()
    assert _find(home, other) is None
    assert home.writer.submit(playground.make, Wanted(other, 6)).result().id != his.id
    home.writer.submit(keys.change, KeyChange(his.hash, {"deleted_at": 7}, 7)).result()
    assert _find(home, owner) is None
    assert home.writer.submit(playground.make, Wanted(owner, 8)).result().hash != his.hash
