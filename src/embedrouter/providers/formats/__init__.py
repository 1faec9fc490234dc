"""The wire formats, one file each: pure functions between our call and a provider's HTTP."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from embedrouter.providers.formats.azure import AzureFormat
from embedrouter.providers.formats.bedrock import BedrockFormat
from embedrouter.providers.formats.cloudflare import CloudflareFormat
from embedrouter.providers.formats.cohere import CohereFormat
from embedrouter.providers.formats.gemini import GeminiFormat
from embedrouter.providers.formats.jina import JinaFormat
from embedrouter.providers.formats.mistral import MistralFormat
from embedrouter.providers.formats.nomic import NomicFormat
from embedrouter.providers.formats.ollama import OllamaFormat
from embedrouter.providers.formats.openai import OpenAIFormat
from embedrouter.providers.formats.tei import TeiFormat
from embedrouter.providers.formats.voyage import VoyageFormat
from embedrouter.providers.wire import Format

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "openai": OpenAIFormat(),
        "azure": AzureFormat(),
        "cohere": CohereFormat(),
        "voyage": VoyageFormat(),
        "jina": JinaFormat(),
        "mistral": MistralFormat(),
        "gemini": GeminiFormat(),
        "tei": TeiFormat(),
        "ollama": OllamaFormat(),
        "cloudflare": CloudflareFormat(),
        "nomic": NomicFormat(),
        "bedrock": BedrockFormat(),
    }
)
"""By the name that a provider's entry in the catalog gives: its `wire`."""
