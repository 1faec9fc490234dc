"""What a line must be to get into a batch: checked when it comes, so that it does not fail when it runs."""

from collections.abc import Sequence

from embedrouter.batches.parsing import Request, about
from embedrouter.errors import EmbedRouterError, InvalidRequestError, NotFoundError
from embedrouter.fields import bad_field
from embedrouter.gateway import Gateway, require_dimensions
from embedrouter.requests.embedding import decode_line, embed_request


class Checker:
    """Of one batch; any thread may use it."""

    def __init__(self, gateway: Gateway, model: str | None) -> None:
        """model: the batch's; None: each line names its own. Raises NotFoundError."""
        self._gateway = gateway
        self._model = model
        self._slug = None if model is None else gateway.model(model)[0].slug

    def check(self, body: bytes) -> str:
        """The model it is for, as it is named. Raises InvalidRequestError naming the field, or NotFoundError for a
        model that is not served."""
        wanted = decode_line(body, self._model)
        try:
            model, _ = self._gateway.model(wanted.model)
        except NotFoundError as error:
            raise NotFoundError(f"model: {error.message}", metadata={**error.metadata, "field": "model"}) from error
        if self._slug is not None and model.slug != self._slug:
            raise bad_field("model", f"must be the batch's, {self._slug}, or left out")
        require_dimensions(model, wanted.dimensions)
        embed_request(wanted)
        return wanted.model

    def check_all(self, requests: Sequence[Request]) -> None:
        """Raise InvalidRequestError naming the request and the field."""
        for one in requests:
            try:
                self.check(one.body)
            except EmbedRouterError as error:
                told = InvalidRequestError(of_body(error), metadata=error.metadata)
                raise about(told, one.number, one.custom_id) from error


def of_body(error: EmbedRouterError) -> str:
    """What is wrong, told of a line's `body`."""
    for start in ("the request's body: ", "the body "):
        if error.message.startswith(start):
            return f"body: {error.message.removeprefix(start)}"
    return f"body.{error.message}"
