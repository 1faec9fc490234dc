import pytest

from security.people import Browser, office
from server import live, managed

__all__ = ["live", "managed"]


@pytest.fixture(scope="session")
def admin() -> Browser:
    """The administrator of `security.people.office()`."""
    return office()
