"""Providers' credentials at rest: AES-256-GCM under named keys.

What is sealed says which key sealed it, and belongs to one row: its id and provider are authenticated with it, so that
rows cannot be swapped. The keys are in a file of the data folder, made when first needed, or in the environment, for
several machines. Of several keys the first seals, and all of them open.
"""

import base64
import binascii
import fcntl
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from embedrouter.errors import SettingsError, StoreError
from embedrouter.settings import Settings

FILE: Final = "secrets.key"
VARIABLE: Final = "EMBEDROUTER_SECRETS_KEY"

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Secret:
    """A text that no repr, log or traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


class Subject(NamedTuple):
    """The row that a sealed text belongs to."""

    id: str
    provider: str

    @property
    def data(self) -> bytes:
        """What is authenticated with the text. Neither part can hold the separator."""
        return f"{self.id}\n{self.provider}".encode()


class SealingKey(NamedTuple):
    """A key and its name; only the name is ever shown."""

    id: str
    cipher: AESGCM
    text: str  # base64, as it is kept

    def __repr__(self) -> str:
        return f"SealingKey({self.id})"


class Sealer:
    """Seals and opens. Thread-safe; a changed key file is taken in when it is next used."""

    def __init__(self, folder: Path, given: str | None = None) -> None:
        """folder: where the key file is, or is made. given: the variable, which replaces it. Raises SettingsError."""
        self.path = None if given else folder / FILE
        self._given = parsed(re.split(r"[,\s]+", given.strip()), VARIABLE) if given else ()
        self._read: tuple[object, tuple[SealingKey, ...]] = (None, ())
        self._reading = threading.Lock()
        self.current()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one that the settings say. Raises SettingsError."""
        return cls(settings.data_dir, settings.secrets_key)

    @property
    def source(self) -> str:
        """Where the keys are, for messages."""
        return VARIABLE if self.path is None else str(self.path)

    def current(self) -> tuple[SealingKey, ...]:
        """The first one seals; none: the file is not there yet. Raises SettingsError."""
        if self.path is None:
            return self._given
        with self._reading:
            try:
                found = self.path.stat()
            except FileNotFoundError:
                return ()
            except OSError as error:
                raise _unreadable(self.path, error) from error
            state = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
            if state != self._read[0]:
                self._read = (state, _from_file(self.path, found.st_mode))
            return self._read[1]

    def seal(self, secret: Secret, subject: Subject) -> str:
        """`key id.base64`. Makes the key file where there is none. Raises SettingsError."""
        keys = self.current()
        if not keys and self.path is not None:
            _make_file(self.path)
            keys = self.current()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + keys[0].cipher.encrypt(nonce, secret.reveal().encode(), subject.data)
        return f"{keys[0].id}.{base64.b64encode(sealed).decode()}"

    def open(self, sealed: str, subject: Subject) -> Secret:
        """Raises StoreError naming the row, and the key if that is missing; SettingsError."""
        id_ = key_id(sealed)
        key = next((one for one in self.current() if one.id == id_), None)
        if key is None:
            raise StoreError(
                f'credential {subject.id} ({subject.provider}) is sealed with the key "{id_}", which {self.source} '
                f"does not have: put that key back, or set the credential anew"
            )
        try:
            raw = base64.b64decode(sealed.partition(".")[2], validate=True)
            text = key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], subject.data)
        except (InvalidTag, ValueError):  # whose cause says nothing more
            raise StoreError(
                f"credential {subject.id} ({subject.provider}) does not open: its row was changed, or it is "
                f"another row's, or {self.source} has another key of the name {id_!r}"
            ) from None
        return Secret(text.decode())

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """32 bytes for another purpose from each key, the one to use first. Makes the key file where there is none.

        Raises SettingsError.
        """
        keys = self.current()
        if not keys and self.path is not None:
            _make_file(self.path)
            keys = self.current()
        return tuple(
            HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose.encode()).derive(base64.b64decode(key.text))
            for key in keys
        )

    @contextmanager
    def rotating(self) -> Iterator[SealingKey]:
        """Inside, a new key seals and the old ones still open; they are dropped when it ends well, else they stay.

        Whatever happens in between, every row can be opened. Only for keys in a file. Raises SettingsError.
        """
        assert self.path is not None
        with _locked(self.path):
            new = _new_key()
            _replace(self.path, (new, *self.current()))
            yield new
            _replace(self.path, (new,))


def key_id(sealed: str) -> str:
    """Which key sealed it; "?" for what is no sealed text."""
    id_, dot, _ = sealed.partition(".")
    return id_ if dot and _ID.fullmatch(id_) else "?"


def parsed(lines: Sequence[str], source: str) -> tuple[SealingKey, ...]:
    """Keys from `id:base64`. Raises SettingsError, which shows no key."""
    keys: list[SealingKey] = []
    for number, line in enumerate(filter(None, (line.strip() for line in lines)), 1):
        id_, colon, text = line.partition(":")
        with suppress(binascii.Error, ValueError):
            raw = base64.b64decode(text, validate=True)
            if colon and _ID.fullmatch(id_) and len(raw) == _KEY_BYTES:
                keys.append(SealingKey(id_, AESGCM(raw), text))
                continue
        raise SettingsError(
            f"{source}: key {number} is not id:base64 with 1 to 32 letters, digits, - or _ as id and {_KEY_BYTES} "
            f"bytes as base64; `openssl rand -base64 {_KEY_BYTES}` makes one"
        )
    if not keys:
        raise SettingsError(f"{source} holds no key; it needs id:base64")
    if len({key.id for key in keys}) < len(keys):
        raise SettingsError(f"{source} holds two keys of the same id")
    return tuple(keys)


def _from_file(path: Path, mode: int) -> tuple[SealingKey, ...]:
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsError(f"{path} may be read by others, and it opens all credentials: chmod 600 {path}")
    try:
        return parsed(path.read_text(encoding="ascii").splitlines(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _new_key() -> SealingKey:
    raw = secrets.token_bytes(_KEY_BYTES)
    return SealingKey(f"k{secrets.token_hex(4)}", AESGCM(raw), base64.b64encode(raw).decode())


def _make_file(path: Path) -> None:
    """Where there is none yet: of two processes that make one, the first one's counts."""
    with _locked(path):
        if not path.exists():
            _replace(path, (_new_key(),))


def _replace(path: Path, keys: Sequence[SealingKey]) -> None:
    """The whole file at once, on the disk before anything depends on it. Raises SettingsError."""
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("".join(f"{key.id}:{key.text}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}; name another folder with --data-dir") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else makes or rotates keys. Raises SettingsError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # which ends with the process
        yield
    finally:
        os.close(lock)


def _unreadable(path: Path, error: Exception) -> SettingsError:
    why = error.strerror if isinstance(error, OSError) else "it is no text of keys"
    return SettingsError(f"cannot use {path}: {why}")
