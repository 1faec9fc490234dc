"""The answer of most routes that delete."""

import msgspec


class Deleted(msgspec.Struct, frozen=True):
    """What DELETE answers."""

    deleted: bool
