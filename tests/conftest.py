"""What every room's tests share: the weights, the model in the precisions it is published in, and the databases."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from embedrouter.minilm import MiniLM
from embedrouter.minilm.engines import native
from embedrouter.minilm.weights import Weights, ensure
from embedrouter.settings import load
from native_module import substitute, substituted
from postgres import PostgresServer, postgresql

substitute()

# A loaded machine must not fail a test: no example is timed.
settings.register_profile("embedrouter", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
# For the sanitizers, under which everything takes many times as long: --hypothesis-profile=sanitize
settings.register_profile("sanitize", settings.get_profile("embedrouter"), max_examples=16)
settings.load_profile("embedrouter")


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The checked weights, where `embedrouter model pull` puts them."""
    chosen = load({}, os.environ)
    return ensure(chosen.model_dir, chosen.cache_dir, offline=chosen.offline)


@pytest.fixture(scope="session")
def openvino() -> None:
    """Asked for by tests that load OpenVINO."""
    if substituted():
        pytest.skip(reason="OpenVINO does not load under the sanitizers: TBB opens a library with RTLD_DEEPBIND")


@pytest.fixture(scope="session")
def model_fp32(weights: Weights, request: pytest.FixtureRequest) -> Iterator[MiniLM]:
    if "avx512-fp32" not in native.available():
        request.getfixturevalue("openvino")
    with MiniLM(weights.folder, precision="float32") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def model(weights: Weights) -> Iterator[MiniLM]:
    """The model as a user gets it on this machine."""
    with MiniLM(weights.folder) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, shared by the session and started when first asked for. Tests may restart or kill it."""
    with postgresql() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """SQLAlchemy's URL of a fresh PostgreSQL database."""
    url = postgres.create_database()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy's URL of a fresh database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'embedrouter.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
