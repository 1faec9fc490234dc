"""OpenRouter's and OpenAI's JSON over HTTP: one file a resource."""
