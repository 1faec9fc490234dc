"""Programs for Node that use the real npm packages in tests/clients."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server import KEY, MODEL, Server, environment

_PACKAGES = Path(__file__).parents[1] / "clients" / "node_modules"


def answered(program: str, server: Server, folder: Path) -> Any:
    """What a module prints as JSON. It finds KEY, BASE and MODEL in its environment; `folder` is empty."""
    node = shutil.which("node")
    if node is None or not (_PACKAGES / ".package-lock.json").is_file():
        pytest.skip(reason="node, or its packages, are not here: run npm ci in tests/clients")
    (folder / "node_modules").symlink_to(_PACKAGES)
    (folder / "program.mjs").write_text(program)
    told = {"KEY": KEY, "BASE": server.base, "MODEL": MODEL, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [node, str(folder / "program.mjs")],
        env={**environment(), **told},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
