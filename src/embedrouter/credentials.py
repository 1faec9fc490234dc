"""Which credentials a request may use at a provider, as routing reads them."""

from collections.abc import Sequence

from embedrouter.accounts.caller import Caller
from embedrouter.accounts.credential_ring import CredentialRing
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.routing.candidates import Access


class Credentials:
    """One a process."""

    def __init__(self, ring: CredentialRing) -> None:
        self._ring = ring

    def of(self, caller: Caller, model: Model, endpoint: Endpoint) -> Sequence[Access]:
        """In the order to use them."""
        key = caller.key
        found = self._ring.for_provider(
            endpoint.provider.slug,
            workspace_id=key.workspace_id,
            key_hash=key.hash,
            owner_id=key.owner_id,
            model=model.slug,
        )
        return [
            Access(
                one.id,
                one.secret.reveal(),
                byok=not one.shared,
                is_fallback=one.is_fallback,
                only=one.is_byok_only or one.is_required,
                zdr=one.declared_zdr,
            )
            for one in found
        ]
