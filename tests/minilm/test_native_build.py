import os
import platform
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from embedrouter.minilm.engines.native import PATHS

_ROOT = Path(__file__).parent.parent.parent
_NATIVE = "embedrouter/minilm/native/"

_OTHER_SYSTEM = (platform.system(), platform.machine()) != ("Linux", "x86_64")
pytestmark = pytest.mark.skipif(_OTHER_SYSTEM, reason="the module is for Linux on x86-64")


def _wheel(folder: Path, *options: str, **environment: str) -> zipfile.ZipFile:
    """The wheel that pip makes of this checkout, built in `folder` and nowhere else, with no index asked."""
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", str(_ROOT)]
    done = subprocess.run(
        [*pip, f"--wheel-dir={folder}", f"--config-settings=build-dir={folder / 'build'}", *options],
        env={**os.environ, "EMBEDROUTER_NATIVE": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.mark.parametrize(
    ("options", "environment", "why"),
    [
        ([], {"CXX": "/bin/false"}, "no working C++ compiler was found"),
        ([], {"EMBEDROUTER_NATIVE": "0"}, "EMBEDROUTER_NATIVE=0 is set"),
        (
            ["--config-settings=cmake.args=-DCMAKE_SYSTEM_NAME=Linux;-DCMAKE_SYSTEM_PROCESSOR=aarch64"],
            {},
            "it is for Linux on x86-64, and this is Linux on aarch64",
        ),
    ],
)
def test_where_it_cannot_be_built_the_install_goes_on_and_says_why(
    tmp_path: Path, options: list[str], environment: dict[str, str], why: str
) -> None:
    with _wheel(tmp_path, *options, **environment) as wheel:
        names = wheel.namelist()
        assert wheel.read(_NATIVE + "not_built.txt").decode() == f"The native module is not built: {why}.\n"
    sources = {path.relative_to(_ROOT / "src").as_posix() for path in (_ROOT / "src").rglob("*.py")}
    assert sources | {"embedrouter/py.typed"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".cpp", ".h"))]


def test_without_the_headers_of_python_the_install_goes_on(tmp_path: Path) -> None:
    with _wheel(tmp_path, f"--config-settings=cmake.define.Python_INCLUDE_DIR={tmp_path}") as wheel:
        why = wheel.read(_NATIVE + "not_built.txt").decode()
    if "no working C++ compiler" in why:
        pytest.skip(reason="there is no C++ compiler here, and it is asked for first")
    assert why.endswith(" the C headers of Python were not found.\n")


def test_a_compiler_that_lacks_a_flag_is_named(tmp_path: Path) -> None:
    compiler = tmp_path / "old-c++"
    compiler.write_text('#!/bin/sh\ncase " $* " in *" -mamx-bf16 "*) exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    with _wheel(tmp_path, CXX=str(compiler)) as wheel:
        why = wheel.read(_NATIVE + "not_built.txt").decode()
    if "no working C++ compiler" in why:
        pytest.skip(reason="there is no C++ compiler here to make an old one of")
    assert why.endswith(" does not know -mamx-bf16.\n")


def test_the_installed_module_loads_and_names_known_paths() -> None:
    """Here the module is there, or the line that says why it is not."""
    reason = resources.files("embedrouter.minilm.native") / "not_built.txt"
    if reason.is_file():
        pytest.skip(reason=reason.read_text())
    from embedrouter.minilm.native import _native

    assert set(_native.available_paths()) <= set(PATHS)
