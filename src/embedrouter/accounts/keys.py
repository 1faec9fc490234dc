"""The server's API key: named by the environment, or made at first start and kept as a hash.

A key has 256 random bits, so its SHA-256 needs no salt and no slow hash. The key itself is shown once, when it is
made; afterwards only its digest and a masked label exist.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from embedrouter.errors import SettingsError

PREFIX: Final = "sk-er-v1-"
_FILE: Final = "api-key.sha256"
_SHORTEST: Final = 16  # characters of a key that an operator chooses


class KeyRing(NamedTuple):
    """The one key. `secret` is given only when the key was made just now: it is shown this once."""

    digest: bytes  # raw SHA-256, 32 bytes
    label: str
    secret: str | None

    def admits(self, key: str) -> bool:
        """Whether `key` is the key; takes the same time for any wrong one."""
        return hmac.compare_digest(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest(), self.digest)


def open_keys(data_dir: Path, api_key: str | None, *, new_key: bool = False) -> KeyRing:
    """The key from the settings, else the kept one, else a new one. Raises SettingsError."""
    if api_key is not None:
        if len(api_key) < _SHORTEST or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise SettingsError(
                f"EMBEDROUTER_API_KEY must be at least {_SHORTEST} printable ASCII characters without spaces; "
                f"leave it out to have one made"
            )
        return _ring(api_key)._replace(secret=None)
    path = data_dir / _FILE
    if path.is_file() and not new_key:
        return _kept(path)
    ring = _ring(PREFIX + secrets.token_hex(32))
    _write(path, f"{ring.digest.hex()} {ring.label}\n")
    return ring


def masked(key: str) -> str:
    """A label that names a key without giving it away."""
    start = len(PREFIX) if key.startswith(PREFIX) else 0
    return f"{key[: start + 3]}...{key[-3:]}"


def _ring(key: str) -> KeyRing:
    return KeyRing(hashlib.sha256(key.encode()).digest(), masked(key), key)


def _kept(path: Path) -> KeyRing:
    try:
        digest, label = path.read_text(encoding="ascii").split()
        raw = bytes.fromhex(digest)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read as a kept key; start once with --new-key to replace it") from error
    if len(raw) != hashlib.sha256().digest_size:
        raise SettingsError(f"{path} is damaged; start once with --new-key to replace it")
    return KeyRing(raw, label, None)


def _write(path: Path, text: str) -> None:
    """Atomically, and readable by the owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".key-")
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except OSError as error:
        raise SettingsError(
            f"cannot write to the data folder {path.parent}: {error.strerror}; name another with --data-dir"
        ) from error
