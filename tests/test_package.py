import importlib.util
from pathlib import Path


def test_the_package_is_found_in_folders_of_its_own_only() -> None:
    """An editable install that takes a folder above them for the package's has tools read whatever lies there."""
    spec = importlib.util.find_spec("embedrouter")
    assert spec is not None
    assert spec.submodule_search_locations
    assert {Path(folder).name for folder in spec.submodule_search_locations} == {"embedrouter"}
