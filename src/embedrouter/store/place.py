"""Where SQLite's file lies: its folder, its rights, its file system."""

import re
from pathlib import Path
from typing import Final

from embedrouter.errors import SettingsError

# SQLite's WAL is memory shared through a file, and its locks must hold: over a network neither is sure.
_REMOTE: Final = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.glusterfs"}
_MOUNTS: Final = Path("/proc/self/mountinfo")


def prepare(path: Path) -> None:
    """Make the folder and an empty file for its owner only, where there is none. Raises SettingsError."""
    try:
        if path.is_dir():
            raise SettingsError(f"{path} is a folder; the database needs the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = file_system(path.parent.resolve(), _MOUNTS)
        if kind in _REMOTE:
            raise SettingsError(
                f"{path.parent} is on a network file system ({kind}), where SQLite loses data: name a local folder "
                f"with --data-dir, or a PostgreSQL database with --database-url"
            )
        if not path.exists():
            path.touch(mode=0o600)  # keys' digests and usage are nobody else's business
    except OSError as error:
        raise SettingsError(
            f"cannot write to the data folder {path.parent}: {error.strerror}; name another with --data-dir"
        ) from error


def file_system(path: Path, mounts: Path) -> str:
    """The type of the file system that holds a folder, as Linux names it; "" where it cannot be told."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    nearest, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])  # \040 is a space
        # Of mounts on the same point the last one counts.
        if path.is_relative_to(point) and len(point) >= len(nearest):
            nearest, kind = point, after.split(" ")[0]
    return kind
