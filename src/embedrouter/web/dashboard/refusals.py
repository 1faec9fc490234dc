"""What was wrong with a form, for the field that it is about."""

from typing import NamedTuple

from embedrouter.errors import EmbedRouterError
from embedrouter.web.layout import told


class Refused(NamedTuple):
    """field: "" if it is about none."""

    field: str
    message: str
    error: EmbedRouterError


def refused(error: EmbedRouterError) -> Refused:
    """An error as its form shows it: beside the field, so without the field's name."""
    field, message = str(error.metadata.get("field", "")), told(error)
    if field and message.lower().startswith(f"{field.lower()}: "):
        message = message[len(field) + 2 :]
        message = message[:1].upper() + message[1:]
    return Refused(field, message, error)
