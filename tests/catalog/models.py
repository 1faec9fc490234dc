"""Models to list and route among."""

from typing import Any

from embedrouter.catalog.models import DataPolicy, Endpoint, Model, Price, Provider


def endpoint(tag: str, price: int = 5_000, **changes: Any) -> Endpoint:
    """tag: `provider/variant`; price: pico-USD per prompt token."""
    slug = tag.partition("/")[0]
    facts: dict[str, Any] = {
        "context_length": 8192,
        "dimensions": 384,
        "quantization": "fp32",
        "data_policy": DataPolicy(retains_prompts=False, trains_on_prompts=False),
        "supported_parameters": ("seed",),
    }
    return Endpoint(
        tag=tag, provider=Provider(slug=slug, name=slug.title()), price=Price(prompt=price), **facts | changes
    )


def model(slug: str, *endpoints: Endpoint, created: int = 0, context_length: int = 8192) -> Model:
    return Model(
        slug=slug,
        canonical_slug=f"{slug}-20251117",
        name=slug.rpartition("/")[2].title(),
        created=created,
        description="",
        hugging_face_id=None,
        context_length=context_length,
        dimensions=384,
        endpoints=endpoints or (endpoint("alpha/fp32"),),
    )
