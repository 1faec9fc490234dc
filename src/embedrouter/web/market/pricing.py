"""/pricing: what everything costs here, cheapest first, and what an amount of text would."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.params import Parameter

from embedrouter.context import Context
from embedrouter.entrance import PUBLIC
from embedrouter.errors import InvalidRequestError
from embedrouter.money import PICO
from embedrouter.web.formats import compact
from embedrouter.web.layout import page
from embedrouter.web.market.choices import chosen
from embedrouter.web.market.offers import Offer, offers, told

AnyRequest = Request[Any, Any, Any]
Under = Annotated[str, Parameter(description="USD for a million tokens.")]

MOST: Final = 10**15  # tokens that are reckoned with
_MOST_USD: Final = 1_000_000
_MILLION: Final = 1_000_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the form says."""

    free: bool = False
    under: Decimal | None = None  # USD for a million tokens
    provider: str | None = None  # slug
    tokens: int | None = None  # to reckon with


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint."""

    offer: Offer
    policies: tuple[str, ...]
    cost: int | None  # pico-USD of what is reckoned with


@get("/pricing", opt=PUBLIC)
async def pricing(
    request: AnyRequest,
    context: Context,
    free: str = "",
    under: Under = "",
    provider: str = "",
    tokens: str = "",
    texts: str = "",
    length: str = "",
) -> Response[str]:
    """The page; a form that cannot be read is told, and the table is there all the same."""
    catalog = context.catalog.loaded.catalog
    error = None
    try:
        slugs = {"": None} | {one.slug: one.slug for one in catalog.providers}
        wanted = Wanted(
            free=free == "1",
            under=_usd("under", under),
            provider=chosen("provider", provider, slugs),
            tokens=amount(tokens, texts, length),
        )
    except InvalidRequestError as found:
        wanted, error = Wanted(), found
    rows = rows_of(tuple(offers(catalog.models)), wanted)
    model = {
        "title": "Pricing",
        "rows": rows,
        "wanted": wanted,
        "amount": None if wanted.tokens is None else compact(wanted.tokens),
        "fields": {"under": under[:20], "tokens": tokens[:20], "texts": texts[:20], "length": length[:20]},
        "total": sum(len(one.endpoints) for one in catalog.models),
        "providers": catalog.providers,
        "billing": context.settings.billing,
        "filtered": bool(wanted.free or wanted.under is not None or wanted.provider),
    }
    return page(request, "market/pricing.html", model, error=error)


def rows_of(listed: Sequence[Offer], wanted: Wanted) -> list[Row]:
    """Those that the filters leave, the cheapest first."""
    found = [
        Row(
            offer=one,
            policies=told(one.endpoint.data_policy),
            cost=None if wanted.tokens is None else wanted.tokens * one.endpoint.price.prompt,
        )
        for one in listed
        if _fits(one, wanted)
    ]
    return sorted(found, key=lambda row: (row.offer.endpoint.price.prompt, row.offer.model.name, row.offer.id))


def amount(tokens: str, texts: str, length: str) -> int | None:
    """Tokens to reckon with: as they are given, else texts by their length; None for nothing."""
    if tokens.strip():
        return _whole("tokens", tokens)
    if not texts.strip() and not length.strip():
        return None
    total = _whole("texts", texts) * _whole("length", length)
    if total > MOST:
        raise _wrong("texts", f"at most {MOST:,} tokens in all")
    return total


def _fits(one: Offer, wanted: Wanted) -> bool:
    price = one.endpoint.price.prompt
    return (
        (not wanted.free or price == 0)
        and (wanted.under is None or price * _MILLION <= wanted.under * PICO)
        and (wanted.provider is None or one.endpoint.provider.slug == wanted.provider)
    )


def _whole(name: str, text: str) -> int:
    """1000000, 1,000,000 or 1 000 000."""
    digits = text.replace(",", "").replace("_", "").replace(" ", "")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20 or int(digits) > MOST:
        raise _wrong(name, f"a whole number up to {MOST:,}")
    return int(digits)


def _usd(name: str, text: str) -> Decimal | None:
    if not text.strip():
        return None
    try:
        value = Decimal(text.strip().removeprefix("$")[:30])
    except InvalidOperation:
        raise _wrong(name, "an amount in USD, such as 0.02") from None
    if not value.is_finite() or not 0 <= value <= _MOST_USD:
        raise _wrong(name, f"an amount in USD from 0 to {_MOST_USD:,}")
    return value


def _wrong(field: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
