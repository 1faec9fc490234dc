"""The body of POST /embeddings, or of a batch's line, and the gateway's request made of it."""

from typing import Annotated, Final

import msgspec
import orjson

from embedrouter.fields import bad_field, decode
from embedrouter.minilm.windows import LongInput
from embedrouter.requests.inputs import normalise
from embedrouter.requests.schemas import ContentInput, EmbeddingsRequest
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.work import EmbedRequest

_RULES: Final = {"end": LongInput.TRUNCATE, "none": LongInput.REFUSE}
NO_PREFERENCES: Final = ProviderPreferences()


class LineRequest(EmbeddingsRequest, frozen=True, kw_only=True):
    """The body of a batch's line: its model may be left to the batch."""

    model: Annotated[str, msgspec.Meta(min_length=1)] = ""


_DECODER: Final = msgspec.json.Decoder(EmbeddingsRequest)
_LINE_DECODER: Final = msgspec.json.Decoder(LineRequest)


def decode_request(body: bytes) -> EmbeddingsRequest:
    """Raises InvalidRequestError naming the field."""
    return decode(body, _DECODER)


def decode_line(body: bytes, model: str | None) -> EmbeddingsRequest:
    """A line's body. model: for a line that names none. Raises InvalidRequestError naming the field."""
    wanted = decode(body, _LINE_DECODER)
    for field in ("input_type", "provider", "preset"):
        if getattr(wanted, field) is not None:
            raise bad_field(field, "cannot be set in a batch's line")
    if not isinstance(wanted.input, str) and any(isinstance(item, ContentInput) for item in wanted.input):
        raise bad_field("input", "objects with content cannot be sent in batches; send texts or token ids")
    if wanted.model:
        return wanted
    if model is None:
        raise bad_field("model", "is required")
    return msgspec.structs.replace(wanted, model=model)


def rule_of(truncate: bool | str | None) -> LongInput:
    """The long-input rule that a body's `truncate` asks for."""
    return _RULES[truncate] if isinstance(truncate, str) else LongInput.of(truncate)


def embed_request(
    wanted: EmbeddingsRequest, *, token_encoding: str | None = None, keep_prompt: bool = False
) -> EmbedRequest:
    """The gateway's request. token_encoding: the header `X-Token-Encoding`. Token ids are decoded, which may take long.

    Raises InvalidRequestError naming the input's index.
    """
    inputs = normalise(wanted.input, token_encoding)
    return EmbedRequest(
        model=wanted.model,
        inputs=inputs,
        rule=rule_of(wanted.truncate),
        dimensions=wanted.dimensions,
        preferences=wanted.provider or NO_PREFERENCES,
        parameters=wanted.sent_parameters(),
        input_type=wanted.input_type,
        prompt=orjson.dumps(inputs).decode() if keep_prompt else None,
    )
