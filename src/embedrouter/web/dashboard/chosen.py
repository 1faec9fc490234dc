"""Which workspace a page is about: `?workspace=` a slug; the default one without."""

from typing import Any, Final, NamedTuple

from litestar import Request

from embedrouter.accounts import workspaces
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.workspaces import Workspace
from embedrouter.web.forms import address
from embedrouter.web.view import Tab

MOST: Final = 100  # workspaces to choose among


class Chosen(NamedTuple):
    """A workspace among the others."""

    workspace: Workspace
    others: list[Workspace]

    def tabs(self, path: str) -> list[Tab]:
        """The way to the others; none where there is only one."""
        if len(self.others) < 2:
            return []
        return [Tab(one.id, one.name, address(path, workspace=one.slug)) for one in self.others]


def wanted(request: Request[Any, Any, Any]) -> str:
    """The slug or id that a request names."""
    return request.query_params.get("workspace") or WORKSPACE


def chosen(connection: Any, ref: str) -> Chosen:
    """Raises NotFoundError."""
    return Chosen(workspaces.find(connection, ref), workspaces.list_workspaces(connection, MOST, 0))
