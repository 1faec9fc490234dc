"""Who does not use a library does not load it, and who misses one is told its name."""

import subprocess
import sys

import pytest


def test_the_tasks_load_none_of_the_libraries() -> None:
    heavy = {"sklearn", "scipy", "langchain_core", "llama_index", "haystack", "chromadb", "pandas"}
    code = "import embedrouter.tasks.cluster, embedrouter.tasks.adapters, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy & {name.partition(".")[0] for name in loaded} == set()


@pytest.mark.parametrize(
    ("adapter", "library", "package"),
    [
        ("langchain", "langchain_core", "langchain-core"),
        ("llama_index", "llama_index", "llama-index-core"),
        ("haystack", "haystack", "haystack-ai"),
        ("chroma", "chromadb", "chromadb"),
    ],
)
def test_a_missing_library_is_named(adapter: str, library: str, package: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import embedrouter.tasks.adapters.{adapter}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"pip install {package}" in ran.stderr.splitlines()[-1]
