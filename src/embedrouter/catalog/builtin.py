"""The built-in model and its provider: this very process."""

from typing import Final

from embedrouter.catalog.models import DataPolicy, Endpoint, Model, Price, Provider, Space
from embedrouter.minilm.facts import DIMENSIONS, HUGGING_FACE_ID, MAX_INPUT, REVISION

SLUG: Final = "sentence-transformers/all-minilm-l6-v2"
ALIASES: Final = (HUGGING_FACE_ID, "all-minilm-l6-v2")
PROVIDER: Final = Provider(slug="builtin", name="Builtin", wire="builtin")

# All accepted and checked; an embedding generates no tokens, so they change nothing.
PARAMETERS: Final = (
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "top_k",
    "seed",
    "min_p",
    "response_format",
)

_DESCRIPTION: Final = (
    "A small, fast sentence-embedding model: it maps a text to 384 numbers whose cosine tells how near two texts are "
    "in meaning. Made for semantic search, clustering, similarity scoring and ranking of English text. It reads 256 "
    "tokens at a time; longer inputs, up to 8,192 tokens, are embedded window by window and averaged unless you ask "
    "to cut or to refuse them. Served by this machine: no text leaves it."
)


def builtin_model(quantization: str) -> Model:
    """all-MiniLM-L6-v2 as this process serves it; quantization: fp32 or bf16."""
    endpoint = Endpoint(
        tag=f"builtin/{quantization}",
        provider=PROVIDER,
        price=Price(prompt=5_000),
        context_length=MAX_INPUT,
        dimensions=DIMENSIONS,
        quantization=quantization,
        data_policy=DataPolicy(retains_prompts=False, trains_on_prompts=False),
        supported_parameters=PARAMETERS,
    )
    return Model(
        slug=SLUG,
        canonical_slug="sentence-transformers/all-minilm-l6-v2-20251117",
        name="Sentence Transformers: all-MiniLM-L6-v2",
        created=1_763_337_600,
        description=_DESCRIPTION,
        hugging_face_id=HUGGING_FACE_ID,
        context_length=MAX_INPUT,
        dimensions=DIMENSIONS,
        endpoints=(endpoint,),
        space=Space(revision=REVISION, dimensions=DIMENSIONS, pooling="mean"),
    )
