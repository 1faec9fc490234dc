"""Where in a long list a page begins, as its address says it."""

from embedrouter.fields import bad_field
from embedrouter.ledger.logs import Cursor


def cursor(text: str | None) -> Cursor | None:
    """`after` of an address. Raises InvalidRequestError."""
    if not text:
        return None
    at, _, id_ = text.partition("_")
    if not (at.isascii() and at.isdecimal() and len(at) <= 16 and 0 < len(id_) <= 64 and id_.isascii()):
        raise bad_field("after", "this is no place in the list; begin at the first page")
    if not id_.isprintable():
        raise bad_field("after", "this is no place in the list; begin at the first page")
    return Cursor(int(at), id_)


def told(place: Cursor | None) -> str | None:
    """The same as it stands in an address."""
    return None if place is None else f"{place.created_at}_{place.id}"
