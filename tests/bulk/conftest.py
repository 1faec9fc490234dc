import pytest

from .encoders import HashEncoder


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()
