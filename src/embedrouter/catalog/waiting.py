"""Shipped models that would be served if only somebody brought a credential, and what to tell who asks for one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from embedrouter.catalog.models import Provider
from embedrouter.errors import NotFoundError


class Waiting(NamedTuple):
    """A model that nobody serves yet."""

    slug: str
    providers: tuple[Provider, ...]  # each lacks nothing but a credential; never empty

    def error(self) -> NotFoundError:
        """For who asks for it."""
        return NotFoundError(
            f"No endpoints found for {self.slug}: {lacking(self.providers)}",
            availability={
                "code": "no_endpoints",
                "retryable": False,
                "requested_models": [self.slug],
                **availability(self.providers),
            },
        )


def lacking(providers: Sequence[Provider]) -> str:
    """A ready clause that says what to do; no full stop."""
    names = " and ".join(provider.name for provider in providers)
    return f"{names} {'has' if len(providers) == 1 else 'have'} no credential here; {_remedy(providers)}"


def availability(providers: Sequence[Provider]) -> Mapping[str, Any]:
    """What `error.availability` has of it."""
    return {
        "affected_providers": sorted({provider.name for provider in providers}),
        "excluded_by": ["credentials"],
        "constraint": {"field": "credentials", "detail": _remedy(providers)},
    }


def _remedy(providers: Sequence[Provider]) -> str:
    variables = " or ".join(dict.fromkeys(provider.credential_env for provider in providers if provider.credential_env))
    stored = "store one with POST /api/v1/byok"
    return f"set {variables} in the server's environment and start it anew, or {stored}" if variables else stored
