"""What is said of private endpoints, and told."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts.credentials import Region
from embedrouter.accounts.private_endpoints import Check, Pricing, Status

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[str, Meta(min_length=1, max_length=500)]
Price = Annotated[str, Meta(pattern=r"^\d{1,7}(\.\d{1,12})?$", description="USD a token, as a decimal")]
Id = Annotated[str, Meta(min_length=1, max_length=40)]


class PricingBody(msgspec.Struct, frozen=True, kw_only=True):
    """Declared prices."""

    prompt: Price
    completion: Price
    cache_read: Price | None = None
    cache_write: Price | None = None


class ForWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """Whose credential is used."""

    workspace_id: Id


class ActivatePrivateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /private-endpoints/{id}/activate, which may be left out."""

    workspace_id: Id | None = None


class CreatePrivateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /private-endpoints. activate: validate and activate at once."""

    model_permaslug: Text
    provider_slug: Text
    upstream_model_id: Text
    base_url: Url | None = None
    pricing: PricingBody | None = None
    declared_region: Region | None = None
    declared_zdr: bool | None = None
    activate: ForWorkspace | None = None


class UpdatePrivateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The body of PATCH /private-endpoints/{id}."""

    upstream_model_id: Text
    base_url: Url | UnsetType = UNSET
    declared_region: Region | UnsetType | None = UNSET
    declared_zdr: bool | UnsetType | None = UNSET


class UpdatePricing(msgspec.Struct, frozen=True, kw_only=True):
    """The body of PUT /private-endpoints/{id}/pricing."""

    pricing: PricingBody


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A private endpoint. Names are null where the catalog does not have the model any more."""

    id: str
    status: Status
    model_permaslug: str
    model_slug: str | None
    model_name: str | None
    provider_name: str
    provider_slug: str | None
    upstream_model_id: str
    base_url: str | None
    pricing: Pricing
    declared_region: Region | None
    declared_zdr: bool | None
    created_at: str
    workspace_id: str | None  # beyond OpenRouter: whose it is, once it is active


class ItemAnswer(msgspec.Struct, frozen=True):
    """One private endpoint."""

    data: Item


class ItemList(msgspec.Struct, frozen=True):
    """All of them, the oldest first."""

    data: list[Item]


class ValidationItem(msgspec.Struct, frozen=True):
    """What was looked at."""

    passed: bool
    checks: list[Check]


class ValidationAnswer(msgspec.Struct, frozen=True):
    """What POST /private-endpoints/{id}/validate answers, also where it did not pass."""

    data: ValidationItem


class Gone(msgspec.Struct, frozen=True):
    """What was deleted."""

    id: str


class GoneAnswer(msgspec.Struct, frozen=True):
    """What DELETE answers."""

    data: Gone
