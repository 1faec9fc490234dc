"""The texts of a request, each embedded once however often it stands there."""

from typing import Final

from embedrouter.api.vectors import Place, metadata_of
from embedrouter.errors import InvalidRequestError
from embedrouter.requests.schemas import MAX_ITEMS


class Distinct:
    """Texts in the order of their first places."""

    def __init__(self) -> None:
        self.texts: Final[list[str]] = []
        self.places: Final[list[Place]] = []  # where each stands first
        self._rows: dict[str, int] = {}

    def add(self, text: str, field: str, *indices: int) -> int:
        """The row of `field[index]...` among the vectors. Raises InvalidRequestError for an empty text, and for one too
        many."""
        row = self._rows.get(text)
        if row is not None:
            return row
        place, row = Place(field, indices), len(self.texts)
        if not text:
            raise InvalidRequestError(
                f"{place} is empty; every text must have at least one character", metadata=metadata_of(place)
            )
        if row == MAX_ITEMS:
            raise InvalidRequestError(
                f"{place} is the {MAX_ITEMS + 1:,}th different text, the limit is {MAX_ITEMS:,}; "
                f"send them in several requests",
                metadata={**metadata_of(place), "limit": MAX_ITEMS},
            )
        self._rows[text] = row
        self.texts.append(text)
        self.places.append(place)
        return row
