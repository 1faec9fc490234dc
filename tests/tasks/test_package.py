"""What `embedrouter.tasks` offers, and that nothing of it is loaded before it is asked for."""

import subprocess
import sys


def run(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_every_name_is_there_also_where_a_module_has_the_same() -> None:
    script = """
import embedrouter.tasks.rank, embedrouter.tasks.cluster
from embedrouter import tasks
from embedrouter.tasks import cluster, rank
assert callable(rank) and callable(cluster)
print(*(type(getattr(tasks, name)).__name__ for name in tasks.__all__))
"""
    assert "module" not in run(script).split()


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    script = """
import sys
import embedrouter.tasks
assert "numpy" not in sys.modules
from embedrouter.tasks import Index, deduplicate, semantic_search
print(sorted({"sklearn", "usearch", "scipy", "pyarrow", "openvino"} & set(sys.modules)))
"""
    assert run(script) == "[]\n"
