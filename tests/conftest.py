"""What every room's tests share: the weights, and the model in the precisions it is published in."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from embedrouter.minilm import MiniLM
from embedrouter.minilm.weights import Weights, ensure
from embedrouter.settings import load

# A loaded machine must not fail a test: no example is timed.
settings.register_profile("embedrouter", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("embedrouter")


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The checked weights, where `embedrouter model pull` puts them."""
    chosen = load({}, os.environ)
    return ensure(chosen.model_dir, chosen.cache_dir, offline=chosen.offline)


@pytest.fixture(scope="session")
def model_fp32(weights: Weights) -> Iterator[MiniLM]:
    with MiniLM(weights.folder, precision="float32") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def model(weights: Weights) -> Iterator[MiniLM]:
    """The model as a user gets it on this machine."""
    with MiniLM(weights.folder) as loaded:
        yield loaded
