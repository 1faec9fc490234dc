"""The native module that tests run: the installed one, or another build of it that the environment names.

`make sanitize` names one built with the sanitizers. conftest.py calls `substitute` before anything imports the engine;
so do the scripts in tests/native, which run in processes of their own.
"""

import importlib.util
import os
import sys

VARIABLE = "NATIVE_UNDER_TEST"  # not EMBEDROUTER_...: those are settings, and unknown ones are refused
_NAME = "embedrouter.minilm.native._native"


def substituted() -> bool:
    """Whether the environment names another build."""
    return VARIABLE in os.environ


def substitute() -> None:
    """Import the build that the environment names, if it names one, as the engine's own module."""
    if not substituted():
        return
    import embedrouter.minilm.native as package

    spec = importlib.util.spec_from_file_location(_NAME, os.environ[VARIABLE])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_NAME] = module
    package._native = module  # where `from package import _native` looks first
