"""Whether a private endpoint is what it is said to be: the catalog is looked at, and the deployment really asked."""

from embedrouter.accounts import private_endpoints
from embedrouter.accounts.credential_ring import Credential
from embedrouter.accounts.private_endpoints import Check, Pricing, PrivateEndpoint, Reason, Validated, Validation
from embedrouter.accounts.validation import endpoint_of, judged, provider_at
from embedrouter.catalog.load import provider_of
from embedrouter.catalog.models import Model, Provider
from embedrouter.context import Context
from embedrouter.errors import ConflictError, InvalidRequestError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.managing.credentials import no_provider
from embedrouter.money import usd_text
from embedrouter.providers.egress import check_url
from embedrouter.providers.probe import Probe
from embedrouter.providers.wire import UpstreamError

_FREE = Pricing(prompt="0", completion="0")


def described(context: Context, permaslug: str, slug: str) -> tuple[Model, Provider]:
    """The model and the provider of these names. Raises NotFoundError, InvalidRequestError."""
    model = context.gateway.catalog.find(permaslug)
    known = {one.slug: one for one in context.catalog.loaded.providers}
    if slug not in known:
        raise NotFoundError(
            f"provider_slug: {no_provider(slug, known)}",
            metadata={"field": "provider_slug", "reason": "provider_not_found"},
        )
    return model, provider_of(known[slug])


def checked_url(provider: Provider, base_url: str | None) -> str | None:
    """What may be asked; None: the provider's own. Raises InvalidRequestError."""
    if base_url is None:
        if provider.base_url is None or "{" in provider.base_url:
            raise _bad_url(f"{provider.name} has no address that holds for everybody: say where your deployment is")
        return None
    try:
        check_url(base_url, allow_private=provider_at(provider, base_url).allow_private)
    except UpstreamError as error:
        raise _bad_url(error.message) from error
    if "?" in base_url:
        raise _bad_url("must have no query: paths are added to it")
    return base_url.rstrip("/")


def public_pricing(model: Model, provider: Provider) -> Pricing:
    """What the provider's public endpoint of the model costs; nothing where there is none."""
    public = next((one for one in model.endpoints if one.provider.slug == provider.slug), None)
    if public is None:
        return _FREE
    return Pricing(prompt=usd_text(public.price.prompt), completion=usd_text(public.price.completion))


async def validated(context: Context, draft: PrivateEndpoint, workspace_id: str) -> Validation:
    """Look, ask, and note what was found. Raises ConflictError for what is no draft, or was edited meanwhile."""
    if draft.status != "draft":
        raise ConflictError(f"it is {draft.status}: only a draft can be validated")
    found = await _looked(context, draft, workspace_id)
    noted = Validated(draft.id, draft.updated_at, found, now())
    await context.writer.write(private_endpoints.note_validation, noted)
    return found


async def _looked(context: Context, draft: PrivateEndpoint, workspace_id: str) -> Validation:
    def failed(name: str, reason: Reason, *, credential: str | None = None) -> Validation:
        return Validation(
            workspace_id=workspace_id,
            credential_id=credential,
            checks=(Check(name=name, passed=False, reason=reason),),
        )

    try:
        model, provider = described(context, draft.model_permaslug, draft.provider_slug)
    except NotFoundError as error:
        gone = error.metadata.get("reason") == "provider_not_found"
        return failed("provider", "provider_not_found") if gone else failed("model", "model_not_found")
    try:
        checked_url(provider, draft.upstream.base_url)
    except InvalidRequestError:
        return failed("base_url", "invalid_base_url")
    credential = _credential(context, draft, provider, model, workspace_id)
    if credential is None and provider.needs_credential:
        closed = context.credentials.closed(provider.slug)
        return failed("credential", "key_decryption_failed" if closed else "no_byok_key")
    asked = Probe(endpoint_of(draft, provider, model), credential.secret.reveal() if credential else None)
    answer = await context.probe(asked)
    before = tuple(Check(name=name, passed=True) for name in ("model", "provider", "base_url", "credential"))
    return Validation(
        workspace_id=workspace_id,
        credential_id=credential.id if credential else None,
        checks=(*before, *judged(draft, provider, model, answer)),
    )


def _credential(
    context: Context, draft: PrivateEndpoint, provider: Provider, model: Model, workspace_id: str
) -> Credential | None:
    """The workspace's first one. What the operator shares goes nowhere but to the provider's own address."""
    usable = context.credentials.for_workspace(provider.slug, workspace_id=workspace_id, model=model.slug)
    elsewhere = draft.upstream.base_url is not None
    return next((one for one in usable if not (one.shared and elsewhere)), None)


def _bad_url(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"base_url: {what}", metadata={"field": "base_url", "reason": "invalid_base_url"})
