"""What the routes share: one object a process, made by the app."""

from dataclasses import dataclass, field

from embedrouter.accounts.keys import KeyRing
from embedrouter.errors import OverloadedError
from embedrouter.gateway import Gateway
from embedrouter.minilm import MiniLM
from embedrouter.settings import Settings
from embedrouter.telemetry.metrics import Metrics


@dataclass(slots=True)
class Context:
    """Everything a route may need; `draining` is the only thing that changes."""

    settings: Settings
    keys: KeyRing
    model: MiniLM
    gateway: Gateway
    metrics: Metrics
    draining: bool = field(default=False)

    def refuse_if_draining(self) -> None:
        """Raise OverloadedError once the server shuts down: what was accepted is answered, nothing new is taken."""
        if self.draining:
            raise OverloadedError("the server is shutting down; try again", retry_after=5)
