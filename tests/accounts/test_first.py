import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedrouter.accounts import first, keys
from embedrouter.accounts.first import FirstKey, Wanted
from embedrouter.accounts.keys import PREFIX, ApiKey, masked, new_secret
from embedrouter.accounts.ring import KeyRing
from embedrouter.errors import SettingsError
from embedrouter.ledger.book import now
from embedrouter.store import Database, Writer
from embedrouter.store.migrate import migrate

_CHOSEN = "a-key-of-the-operator"
_MANAGEMENT = "a-key-of-the-manager"


class Start:
    """Starts a server's accounts on one database, again and again."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.database = Database(url)
        migrate(self.database)
        self.writer = Writer(self.database)
        self.data_dir = data_dir

    def __call__(self, api_key: str | None = None, management_key: str | None = None, *, new: bool = False) -> FirstKey:
        return first.prepare(self.writer, Wanted(api_key, management_key, new, self.data_dir))

    def opens(self, secret: str) -> bool:
        ring = KeyRing(self.database)
        ring.load()
        key = ring.find(secret)
        return key is not None and key.usable(now())


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    started = Start(database_url, tmp_path)
    yield started
    started.writer.close()
    started.database.close()


def test_a_made_key_has_the_prefix_and_256_random_bits() -> None:
    made = {new_secret() for _ in range(3)}
    assert len(made) == 3
    for secret in made:
        assert secret.startswith(PREFIX)
        assert len(bytes.fromhex(secret.removeprefix(PREFIX))) == 32


def test_a_made_key_is_told_once_and_opens_ever_after(start: Start) -> None:
    made = start()
    assert made.secret is not None
    assert start() == made._replace(secret=None)
    assert start.opens(made.secret)


def test_a_new_key_replaces_the_first_one(start: Start) -> None:
    old, new = start().secret, start(new=True).secret
    assert old is not None
    assert new is not None
    assert not start.opens(old)
    assert start.opens(new)


def test_a_chosen_key_is_not_told_again_and_leaves_others(start: Start) -> None:
    made = start().secret
    told = start(_CHOSEN)
    assert told == FirstKey(masked(_CHOSEN), None), "who chose it knows it; the banner must not print it"
    assert made is not None
    assert start.opens(made)
    assert start.opens(_CHOSEN)


def test_another_chosen_key_disables_the_one_before(start: Start) -> None:
    start(_CHOSEN)
    start(_CHOSEN + "-2")
    assert start.opens(_CHOSEN + "-2")
    assert not start.opens(_CHOSEN)


def test_a_key_named_again_opens_again(start: Start) -> None:
    for chosen in (_CHOSEN, _CHOSEN + "-2", _CHOSEN):
        start(chosen)
    assert start.opens(_CHOSEN)
    assert not start.opens(_CHOSEN + "-2")


def test_naming_a_deleted_key_opens_nothing_and_disables_nothing(start: Start) -> None:
    start(_CHOSEN)
    key = _key(start, _CHOSEN)
    start.writer.submit(keys.change, keys.KeyChange(key.hash, {"deleted_at": now()}, now())).result()
    start(_CHOSEN + "-2")
    start(_CHOSEN)
    assert not start.opens(_CHOSEN)
    assert start.opens(_CHOSEN + "-2")


def test_a_key_that_is_named_no_more_is_told(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    start(_CHOSEN, _MANAGEMENT)
    start()
    told = [record.getMessage() for record in caplog.records if "still good" in record.getMessage()]
    assert len(told) == 2
    assert start.opens(_CHOSEN)


def _key(start: Start, secret: str) -> ApiKey:
    ring = KeyRing(start.database)
    ring.load()
    found = ring.find(secret)
    assert found is not None
    return found


def test_a_management_key_beside_it(start: Start) -> None:
    start(_CHOSEN, _MANAGEMENT)
    ring = KeyRing(start.database)
    ring.load()
    kinds = {secret: found.management for secret in (_CHOSEN, _MANAGEMENT) if (found := ring.find(secret))}
    assert kinds == {_CHOSEN: False, _MANAGEMENT: True}


def test_one_key_cannot_be_both(start: Start) -> None:
    with pytest.raises(SettingsError, match="differ"):
        start(_CHOSEN, _CHOSEN)
    start(_CHOSEN)
    with pytest.raises(SettingsError, match="known as an API key"):
        start("another-key-of-theirs", _CHOSEN)


@pytest.mark.parametrize("wrong", ["", "x", _CHOSEN[:-1], _CHOSEN + " ", _CHOSEN.upper(), "\udcff" * 20, "ключ" * 5])
def test_nothing_else_is_admitted(start: Start, wrong: str) -> None:
    start(_CHOSEN)
    assert not start.opens(wrong)


@pytest.mark.parametrize(
    "weak", ["", "short", "x" * 15, "with spaces in between", "tab\tinside-the-key", "schlüssel-schlüssel"]
)
def test_a_weak_or_unsendable_key_is_refused(start: Start, weak: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDROUTER_API_KEY") as caught:
        start(weak)
    assert weak == "" or weak not in caught.value.message
    with pytest.raises(SettingsError, match="EMBEDROUTER_MANAGEMENT_KEY"):
        start(None, weak)


def test_the_key_that_version_0_1_kept_in_a_file_goes_on(start: Start) -> None:
    secret = new_secret()
    file = start.data_dir / "api-key.sha256"
    file.write_text(f"{hashlib.sha256(secret.encode()).hexdigest()} {masked(secret)}\n")
    assert start() == FirstKey(masked(secret), None)
    assert start.opens(secret)
    assert not file.exists(), "it is in the database now"


@pytest.mark.parametrize("text", ["", "garbage", "zz label", "ab label", "\x80\xff", f"{'0' * 64}", "a b c"])
def test_a_damaged_file_is_refused_with_the_way_out(start: Start, text: str) -> None:
    (start.data_dir / "api-key.sha256").write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match="--new-key"):
        start()
    assert start(new=True).secret is not None
    assert start().secret is None


@pytest.mark.parametrize(
    ("key", "label"),
    [
        (PREFIX + "0123" + "f" * 57 + "abc", PREFIX + "012...abc"),
        (_CHOSEN, "a-k...tor"),
        ("sk-or-v1-" + "1" * 64, "sk-...111"),
    ],
)
def test_a_label_gives_little_away(key: str, label: str) -> None:
    assert masked(key) == label
