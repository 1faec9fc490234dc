"""Who is asked in which order: a plan's endpoints, each with the credentials that may be used there. Pure functions."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from embedrouter.catalog.models import Endpoint


class Access(NamedTuple):
    """A credential that a request may use at a provider. Its secret is shown nowhere."""

    id: str
    secret: str
    byok: bool = True  # somebody's own, not the installation's
    is_fallback: bool = False
    only: bool = False  # where it may be used, the installation's own is not
    zdr: bool | None = None  # what its owner declares of the account behind it; None: what is known of the endpoint

    def __repr__(self) -> str:
        return f"Access(id={self.id!r})"


class Candidate(NamedTuple):
    """One way to ask an endpoint."""

    endpoint: Endpoint
    access: Access | None  # None: it needs no credential

    @property
    def name(self) -> tuple[str, str | None]:
        """What tells it from the others of a request: its endpoint's tag, and its credential's id."""
        return self.endpoint.tag, None if self.access is None else self.access.id

    @property
    def byok(self) -> bool:
        """Whether somebody's own credential pays."""
        return self.access is not None and self.access.byok

    @property
    def retains_prompts(self) -> bool:
        """A private endpoint speaks for itself: a declaration of its credential can but add that prompts are kept."""
        retained = self.endpoint.data_policy.retains_prompts
        if self.access is None or self.access.zdr is None:
            return retained
        return not self.access.zdr or (retained and self.endpoint.private_to is not None)


def candidates(
    endpoints: Iterable[Endpoint],
    access: Callable[[Endpoint], Sequence[Access]],
    *,
    zdr: bool = False,
    most: int = 64,
) -> list[Candidate]:
    """First who is asked with somebody's own credential, then with the installation's, then own ones for fallback.

    Each in the plan's order. access: the credentials for an endpoint, in order. An endpoint that needs a credential and
    has none is left out; with `zdr`, who retains prompts, too.
    """
    own: list[Candidate] = []
    shared: list[Candidate] = []
    last: list[Candidate] = []
    for endpoint in endpoints:
        found = access(endpoint)
        if endpoint.credential_id is not None:
            found = [one for one in found if one.id == endpoint.credential_id]
        own += [Candidate(endpoint, one) for one in found if one.byok and not one.is_fallback]
        last += [Candidate(endpoint, one) for one in found if one.byok and one.is_fallback]
        if any(one.only for one in found):
            continue
        installed = [one for one in found if not one.byok]
        if installed:
            shared += [Candidate(endpoint, one) for one in installed]
        elif not endpoint.provider.needs_credential and endpoint.credential_id is None:
            shared.append(Candidate(endpoint, None))
    ways = [*own, *shared, *last]
    return [way for way in ways if not (zdr and way.retains_prompts)][:most]


def retains(endpoint: Endpoint, found: Sequence[Access]) -> bool:
    """Whether prompts are kept by whichever way an endpoint is asked. found: the credentials for it."""
    ways = candidates([endpoint], lambda _: found)
    return all(way.retains_prompts for way in ways) if ways else endpoint.data_policy.retains_prompts
