"""What is sealed opens with its key, for its row, and with nothing else; keys change under it without a gap."""

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from embedrouter.accounts import sealing
from embedrouter.accounts.sealing import Sealer, Secret, Subject
from embedrouter.errors import SettingsError, StoreError

_SUBJECT = Subject("3f0c7a52-7c4c-4c40-8f0e-7c3d0a6a0f11", "openai")
_SECRET = Secret("sk-proj-0123456789abcdef")


def key(id_: str) -> str:
    return f"{id_}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def test_what_was_sealed_opens_and_shows_nothing(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    sealed = sealer.seal(_SECRET, _SUBJECT)
    assert sealer.open(sealed, _SUBJECT) == _SECRET
    assert sealer.seal(_SECRET, _SUBJECT) != sealed, "a nonce is used once"
    assert _SECRET.reveal() not in f"{sealed} {_SECRET!r} {_SECRET} {[_SECRET]} {sealer.current()}"
    assert sealer.current()[0].text not in repr(sealer.current())


def test_the_key_file_is_made_when_first_needed_and_for_its_owner_only(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    sealed = sealer.seal(_SECRET, _SUBJECT)
    assert (tmp_path / "data" / "secrets.key").stat().st_mode & 0o777 == 0o600
    assert Sealer(tmp_path / "data").open(sealed, _SUBJECT) == _SECRET


def test_a_changed_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    id_, _, text = sealer.seal(_SECRET, _SUBJECT).partition(".")
    raw = base64.b64decode(text)
    for place in range(len(raw)):
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        with pytest.raises(StoreError, match="does not open"):
            sealer.open(f"{id_}.{base64.b64encode(changed).decode()}", _SUBJECT)


@pytest.mark.parametrize("sealed", ["", ".", "no dot", "{id}.", "{id}.!!!", "{id}.AAAA", "a b.AAAA", "{id}.é"])
def test_what_is_no_sealed_text_is_an_error_that_names_the_row(tmp_path: Path, sealed: str) -> None:
    sealer = Sealer(tmp_path)
    sealer.seal(_SECRET, _SUBJECT)
    with pytest.raises(StoreError, match=_SUBJECT.id):
        sealer.open(sealed.replace("{id}", sealer.current()[0].id), _SUBJECT)


def test_rows_cannot_be_swapped(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    sealed = sealer.seal(_SECRET, _SUBJECT)
    for other in (_SUBJECT._replace(id="another"), _SUBJECT._replace(provider="cohere")):
        with pytest.raises(StoreError, match="another row's"):
            sealer.open(sealed, other)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    sealed = Sealer(tmp_path, key("2025")).seal(_SECRET, _SUBJECT)
    with pytest.raises(StoreError, match=r'key "2025", which EMBEDROUTER_SECRETS_KEY does not have'):
        Sealer(tmp_path, key("2026")).open(sealed, _SUBJECT)


def test_of_several_keys_the_first_seals_and_all_open(tmp_path: Path) -> None:
    old, new = key("old"), key("new")
    sealed = Sealer(tmp_path, old).seal(_SECRET, _SUBJECT)
    both = Sealer(tmp_path, f"{new},{old}")
    assert both.open(sealed, _SUBJECT) == _SECRET
    assert both.seal(_SECRET, _SUBJECT).startswith("new.")
    assert list(tmp_path.iterdir()) == [], "the environment's keys replace the file"


@pytest.mark.parametrize("given", ["nonsense", "id:", "id:AAAA", ":" + "A" * 44, "i d:" + "A" * 43 + "=", ",", " "])
def test_keys_that_are_none_stop_the_start_and_are_not_shown(tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDROUTER_SECRETS_KEY") as caught:
        Sealer(tmp_path, given)
    assert "AAAA" not in caught.value.message


def test_two_keys_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two keys of the same id"):
        Sealer(tmp_path, f"{key('a')},{key('a')}")


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    sealer.seal(_SECRET, _SUBJECT)
    for mode in (0o640, 0o604):
        (tmp_path / "secrets.key").chmod(mode)
        for use in (lambda: Sealer(tmp_path), lambda: sealer.seal(_SECRET, _SUBJECT)):
            with pytest.raises(SettingsError, match="chmod 600"):
                use()


def test_a_key_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets.key").write_bytes(b"\xff\xfe\n")
    (tmp_path / "secrets.key").chmod(0o600)
    with pytest.raises(SettingsError, match="it is no text of keys"):
        Sealer(tmp_path)


def test_while_keys_rotate_everything_opens_everywhere(tmp_path: Path) -> None:
    here, there = Sealer(tmp_path), Sealer(tmp_path)
    before = here.seal(_SECRET, _SUBJECT)
    with here.rotating() as new:
        assert there.open(before, _SUBJECT) == _SECRET
        after = there.seal(_SECRET, _SUBJECT)
        assert after.startswith(f"{new.id}."), "another process seals with the new key at once"
    assert there.open(after, _SUBJECT) == _SECRET
    assert [one.id for one in there.current()] == [new.id]
    with pytest.raises(StoreError, match="does not have"):
        there.open(before, _SUBJECT)


def test_a_rotation_that_fails_drops_no_key(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    before = sealer.seal(_SECRET, _SUBJECT)
    with pytest.raises(RuntimeError), sealer.rotating():
        raise RuntimeError
    assert sealer.open(before, _SUBJECT) == _SECRET


def test_processes_that_need_the_first_key_at_once_agree_on_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from embedrouter.accounts.sealing import Sealer, Secret, Subject\n"
        "sys.stdin.readline()\n"
        "print(Sealer(Path(sys.argv[1])).seal(Secret('sk-1'), Subject('id', 'openai')))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    sealed = [process.communicate(timeout=60)[0].strip() for process in started]
    sealer = Sealer(tmp_path)
    assert len({text.partition(".")[0] for text in sealed}) == 1
    assert [sealer.open(text, Subject("id", "openai")).reveal() for text in sealed] == ["sk-1"] * 4


def test_the_id_of_a_key_can_be_told_from_what_it_sealed(tmp_path: Path) -> None:
    assert sealing.key_id(Sealer(tmp_path, key("main")).seal(_SECRET, _SUBJECT)) == "main"
    assert sealing.key_id("rubbish") == "?"
