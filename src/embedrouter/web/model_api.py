"""The API tab of a model's page: how to call the model here, as samples that run, and what a request may carry."""

from typing import Final, NamedTuple

from markupsafe import Markup

from embedrouter.catalog.builtin import SLUG
from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.web.docs.code import coloured, title_of
from embedrouter.web.model_samples import SAMPLES


class Shown(NamedTuple):
    """A sample for one client."""

    key: str
    title: str
    install: str  # a command; "" where nothing is needed
    language: str  # its name for people
    code: str
    coloured: Markup


class Header(NamedTuple):
    """One that a request may have."""

    name: str
    required: bool
    description: str


class Parameter(NamedTuple):
    """One that a request may have, and what it does here."""

    name: str
    type: str
    default: str
    description: str
    required: bool = False


class ModelApi(NamedTuple):
    """All that templates/model/_api.html shows."""

    slug: str
    url: str  # that a request is posted to
    base: str  # that clients are given
    samples: tuple[Shown, ...]
    headers: tuple[Header, ...]
    own: tuple[Parameter, ...]  # what an embedding has
    generic: tuple[Parameter, ...]  # what every model page lists, and an embedding has no use for


HEADERS: Final = (
    Header("Authorization", True, "Bearer and your key."),
    Header("Content-Type", True, "application/json."),
    Header("HTTP-Referer", False, "Your app’s URL. Its usage is counted under it and shown in the rankings."),
    Header(
        "X-OpenRouter-Title", False, "Your app’s name, also as X-Title. An app on localhost is counted only with one."
    ),
    Header("X-OpenRouter-Categories", False, "Up to two of the known categories of apps, with commas between."),
    Header("X-OpenRouter-Cache", False, "true keeps the answer, and gives it again without cost for the same body."),
    Header("X-OpenRouter-Metadata", False, "enabled adds openrouter_metadata: who could have served, and who did."),
    Header("X-Session-Id", False, "Kept with the generation, where the body has no session_id."),
    Header("X-Token-Encoding", False, "What token ids in input are: cl100k_base, if left out, or model."),
    Header("Content-Encoding", False, "gzip, for a body that is."),
)

_CHECKED: Final = "Checked and ignored: "
GENERIC: Final = (
    Parameter("max_tokens", "integer, 1 or more", "not set", _CHECKED + "an embedding generates no tokens."),
    Parameter("temperature", "number, 0 to 2", "not set", _CHECKED + "the same text always gives the same vector."),
    Parameter("top_p", "number, 0 to 1", "not set", _CHECKED + "nothing is sampled."),
    Parameter("stop", "text or list of text", "not set", _CHECKED + "there is no text to stop."),
    Parameter("frequency_penalty", "number, -2 to 2", "not set", _CHECKED + "nothing is generated to be penalised."),
    Parameter("presence_penalty", "number, -2 to 2", "not set", _CHECKED + "nothing is generated to be penalised."),
    Parameter("repetition_penalty", "number, 0 to 2", "not set", _CHECKED + "nothing is generated to be penalised."),
    Parameter("top_k", "integer, 0 or more", "not set", _CHECKED + "it is of sampling; it does not limit results."),
    Parameter("seed", "integer", "not set", _CHECKED + "there is no chance in an embedding."),
    Parameter("min_p", "number, 0 to 1", "not set", _CHECKED + "nothing is sampled."),
    Parameter("response_format", "object", "not set", _CHECKED + "for numbers as base64 there is encoding_format."),
)


async def view(context: Context, model: Model, _: int) -> ModelApi:
    """What the tab shows."""
    return model_api(model, context.settings.address)


def model_api(model: Model, address: str) -> ModelApi:
    """Of a model, at this server's address, which has no slash at its end."""
    return ModelApi(
        slug=model.slug,
        url=f"{address}/api/v1/embeddings",
        base=f"{address}/api/v1",
        samples=tuple(
            Shown(
                one.key,
                one.title,
                one.install,
                title_of(one.language),
                code := one.code(f"{address}/api/v1", model.slug),
                coloured(code, one.language),
            )
            for one in SAMPLES
        ),
        headers=HEADERS,
        own=parameters_of(model),
        generic=GENERIC,
    )


def parameters_of(model: Model) -> tuple[Parameter, ...]:
    """What an embedding of this model may carry."""
    builtin = model.slug == SLUG
    if builtin:
        dimensions = f"The first so many of the {model.dimensions} numbers, normalised again."
        truncate = (
            "Of inputs over 256 tokens. Not set: embedded by windows, up to 8,192 tokens. true or end: cut at 256. "
            "false or none: refused with 400."
        )
        input_type = "Accepted; this model makes one kind of vector."
    else:
        dimensions = "How many numbers a vector has; for providers that can shorten it."
        truncate = "true or end cuts inputs that are too long; false, none or not set refuses them with 400."
        input_type = "What the text is for, search_query or search_document; passed on to providers that know it."
    if model.fixed_dimensions:
        dimensions = f"{model.dimensions}, or left out: its vectors may not be cut."
    return (
        Parameter(
            "model", "text", "–", f"{model.slug}. Its variants :nitro, :floor and :free choose by speed or price.", True
        ),
        Parameter(
            "input",
            "text, list of text, list of token ids, list of such lists, or list of objects with content",
            "–",
            "1 to 2,048 inputs, none empty. Of content, parts of the type text are embedded.",
            True,
        ),
        Parameter("encoding_format", "float or base64", "float", "base64: little-endian float32, about half the size."),
        Parameter("dimensions", f"integer, 1 to {model.dimensions}", str(model.dimensions), dimensions),
        Parameter("truncate", "true, false, end or none", "not set", truncate),
        Parameter("input_type", "text", "not set", input_type),
        Parameter(
            "provider", "object", "not set", "Who may serve, in which order, at which price; see Routing in the docs."
        ),
        Parameter("preset", "text", "not set", "A preset’s slug; also as model: @preset/slug."),
        Parameter(
            "user",
            "text",
            "not set",
            "Your end user’s id: kept with the generation, and passed on to providers that know it.",
        ),
        Parameter("session_id", "text, up to 256 characters", "not set", "Kept with the generation."),
        Parameter("trace", "object", "not set", "Accepted; nothing is stored."),
    )
