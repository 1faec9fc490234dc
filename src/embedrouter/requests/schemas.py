"""Request bodies as typed structs: decoder, validator and OpenAPI at once.

Unknown fields are ignored and an optional field may be null, which means "not set"; everything else is strict: no
text where a number belongs.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from embedrouter.routing.preferences import ProviderPreferences

MAX_ITEMS = 2048

NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Label = Annotated[str, msgspec.Meta(max_length=256)]


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a multimodal input; this server embeds the type `text`."""

    type: str
    text: str | None = None


class ContentInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input made of parts."""

    content: Annotated[list[ContentPart], msgspec.Meta(min_length=1)]


# OpenRouter's own clients send token ids as floats: 15339.0.
TokenIds = Annotated[list[int | float], msgspec.Meta(min_length=1)]
Items = Annotated[list[str | int | float | TokenIds | ContentInput], msgspec.Meta(min_length=1)]
Input = str | Items


class ModelParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of the model page: checked, and without effect, since an embedding generates no tokens."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    frequency_penalty: Annotated[float, msgspec.Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, msgspec.Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_k: NonNegative | None = None
    seed: int | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    response_format: dict[str, Any] | None = None


class EmbeddingsRequest(ModelParameters, frozen=True, kw_only=True):
    """The body of POST /embeddings."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    input: Input
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    truncate: bool | Literal["end", "none"] | None = None
    provider: ProviderPreferences | None = None
    preset: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    input_type: str | None = None
    user: str | None = None
    session_id: Label | None = None
    trace: dict[str, Any] | None = None

    def sent_parameters(self) -> frozenset[str]:
        """The names of the model parameters this request carries."""
        return frozenset(name for name in ModelParameters.__struct_fields__ if getattr(self, name) is not None)


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the bodies of the other routes that ask a model have in common."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    truncate: bool | Literal["end", "none"] | None = None
    provider: ProviderPreferences | None = None
    preset: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    user: str | None = None
    session_id: Label | None = None
    trace: dict[str, Any] | None = None


R = TypeVar("R", bound=EmbeddingsRequest | ModelRequest)
