import hashlib
import stat
from pathlib import Path

import pytest

from embedrouter.accounts.keys import PREFIX, masked, open_keys
from embedrouter.errors import SettingsError

_CHOSEN = "a-key-of-the-operator"


def _kept(folder: Path) -> Path:
    return folder / "api-key.sha256"


def test_a_made_key_has_the_prefix_and_256_random_bits(tmp_path: Path) -> None:
    secrets = set()
    for name in "abc":
        secret = open_keys(tmp_path / name, None).secret
        assert secret is not None
        assert secret.startswith(PREFIX)
        assert len(bytes.fromhex(secret.removeprefix(PREFIX))) == 32
        secrets.add(secret)
    assert len(secrets) == 3


def test_only_the_hash_and_a_label_are_kept_and_only_for_the_owner(tmp_path: Path) -> None:
    secret = open_keys(tmp_path / "deep" / "data", None).secret
    assert secret is not None
    file = _kept(tmp_path / "deep" / "data")
    assert file.read_text() == f"{hashlib.sha256(secret.encode()).hexdigest()} {masked(secret)}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file], "a scratch file was left behind"


def test_a_kept_key_is_opened_without_its_secret(tmp_path: Path) -> None:
    made = open_keys(tmp_path, None)
    assert made.secret is not None
    kept = open_keys(tmp_path, None)
    assert kept == made._replace(secret=None)
    assert kept.admits(made.secret)


def test_a_new_key_replaces_the_kept_one(tmp_path: Path) -> None:
    old = open_keys(tmp_path, None).secret
    new = open_keys(tmp_path, None, new_key=True)
    assert old is not None
    assert new.secret is not None
    assert not new.admits(old)
    assert open_keys(tmp_path, None).admits(new.secret)


def test_a_chosen_key_is_neither_kept_nor_told_again(tmp_path: Path) -> None:
    ring = open_keys(tmp_path, _CHOSEN)
    assert ring.admits(_CHOSEN)
    assert ring.secret is None, "who chose it knows it; the banner must not print it"
    assert _CHOSEN not in repr(ring)
    assert list(tmp_path.iterdir()) == []


def test_a_chosen_key_goes_before_a_kept_one_and_leaves_it(tmp_path: Path) -> None:
    made = open_keys(tmp_path, None).secret
    assert made is not None
    assert not open_keys(tmp_path, _CHOSEN).admits(made)
    assert open_keys(tmp_path, None).admits(made)


@pytest.mark.parametrize("wrong", ["", "x", _CHOSEN[:-1], _CHOSEN + " ", _CHOSEN.upper(), "\udcff" * 20, "ключ" * 5])
def test_nothing_else_is_admitted(tmp_path: Path, wrong: str) -> None:
    assert not open_keys(tmp_path, _CHOSEN).admits(wrong)


@pytest.mark.parametrize(
    "weak", ["", "short", "x" * 15, "with spaces in between", "tab\tinside-the-key", "schlüssel-schlüssel"]
)
def test_a_weak_or_unsendable_key_is_refused(tmp_path: Path, weak: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDROUTER_API_KEY") as caught:
        open_keys(tmp_path, weak)
    assert weak == "" or weak not in caught.value.message


@pytest.mark.parametrize("text", ["", "garbage", "zz label", "ab label", "\x80\xff", f"{'0' * 64}", "a b c"])
def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    _kept(tmp_path).write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match="--new-key"):
        open_keys(tmp_path, None)
    assert open_keys(tmp_path, None, new_key=True).secret is not None


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--data-dir"):
        open_keys(tmp_path / "file" / "data", None)


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
