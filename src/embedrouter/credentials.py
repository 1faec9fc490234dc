"""Which credentials a request may use at a provider: the installation's from the environment, and stored ones."""

from collections.abc import Mapping, Sequence

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.routing.candidates import Access
from embedrouter.work import Origin


class Credentials:
    """One a process."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def of(self, _origin: Origin, _model: Model, endpoint: Endpoint) -> Sequence[Access]:
        """In the order to use them."""
        provider = endpoint.provider
        secret = self._environ.get(provider.credential_env or "")
        return [Access(f"environment:{provider.slug}", secret, byok=False)] if secret else []
