"""/dashboard/incidents: when endpoints failed, found in the health that all processes share."""

from typing import Any, NamedTuple

from litestar import Request, Response, get

from embedrouter.accounts.sessions import SignedIn
from embedrouter.catalog.models import endpoint_id
from embedrouter.context import Context
from embedrouter.entrance import ADMIN
from embedrouter.ledger.book import now
from embedrouter.ledger.incidents import Incident, recent_incidents
from embedrouter.periods import SECOND
from embedrouter.web.dashboard.frame import dashboard_page


class Row(NamedTuple):
    """An incident, with where to read on."""

    incident: Incident
    model: str  # slug
    tag: str
    href: str | None  # None: the catalog does not have it any more

    @property
    def start(self) -> int:
        """Microseconds."""
        return self.incident.start * SECOND

    @property
    def minutes(self) -> int | None:
        """How long; None: it may go on."""
        return None if self.incident.end is None else (self.incident.end - self.incident.start) // 60


@get("/dashboard/incidents", opt=ADMIN)
async def incidents_page(request: Request[Any, Any, Any], context: Context, signed_in: SignedIn) -> Response[str]:
    """Of the last three days, also of private endpoints; the newest first."""
    at = now()
    found = await context.database.read(lambda connection: recent_incidents(connection, at))
    served = {
        endpoint_id(model, endpoint): model.slug
        for model in context.gateway.catalog.models
        for endpoint in model.endpoints
    }
    model = {"title": "Incidents", "rows": [_row(one, served) for one in found], "endpoints": len(served)}
    return dashboard_page(request, signed_in, "dashboard/incidents.html", model)


def _row(one: Incident, served: dict[str, str]) -> Row:
    model, _, tag = one.endpoint.partition(" ")
    return Row(one, model, tag, f"/{model}/uptime" if one.endpoint in served else None)
