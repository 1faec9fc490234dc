"""What we call others with, signed so that they can tell it is us: Standard Webhooks, with one secret a workspace.

The secrets are derived from the keys that seal credentials, so none is stored. While several keys are in use, each
signs.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from embedrouter.accounts.sealing import Sealer

PREFIX: Final = "whsec_"


class WebhookSigner:
    """Thread-safe."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def secret(self, workspace_id: str) -> str:
        """What a receiver verifies with: `whsec_` and base64. Raises SettingsError."""
        return PREFIX + base64.b64encode(self._keys(workspace_id)[0]).decode()

    def headers(self, workspace_id: str, message_id: str, at: int, body: bytes) -> Mapping[str, str]:
        """What goes with a body. at: unix time in seconds. Raises SettingsError."""
        signatures = [signature(key, message_id, at, body) for key in self._keys(workspace_id)]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(signatures),
        }

    def _keys(self, workspace_id: str) -> tuple[bytes, ...]:
        return self._sealer.derived(f"webhooks\n{workspace_id}")


def signature(key: bytes, message_id: str, at: int, body: bytes) -> str:
    """`v1,` and the base64 of an HMAC-SHA256."""
    signed = f"{message_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
