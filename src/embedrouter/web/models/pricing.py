"""What a model costs, by provider: by the list, and what was really paid."""

from collections.abc import Iterable
from typing import NamedTuple

from embedrouter.catalog.models import Endpoint, Model
from embedrouter.context import Context
from embedrouter.ledger.prices import Paid, PaidPrice, paid_prices

_NOTHING = Paid(0, 0)


class Row(NamedTuple):
    """An endpoint's prices."""

    endpoint: Endpoint
    hour: Paid
    day: Paid


async def view(context: Context, model: Model, at: int) -> tuple[Row, ...]:
    """The cheapest first."""
    paid = await context.database.read(lambda connection: paid_prices(connection, at, model.canonical_slug))
    return rows(model, paid)


def rows(model: Model, paid: Iterable[PaidPrice]) -> tuple[Row, ...]:
    """Only of the endpoints that everybody may know."""
    found = {one.endpoint: one for one in paid}
    listed = (
        Row(endpoint, found[endpoint.tag].hour, found[endpoint.tag].day)
        if endpoint.tag in found
        else Row(endpoint, _NOTHING, _NOTHING)
        for endpoint in model.endpoints
    )
    return tuple(sorted(listed, key=lambda row: row.endpoint.price.prompt))
