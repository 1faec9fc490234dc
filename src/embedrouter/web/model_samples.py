"""First requests, one a client. Each is a whole program that runs as it is; the tests run them."""

from string import Template
from typing import Final, NamedTuple


class Sample(NamedTuple):
    """A program with two holes: the base URL and the model."""

    key: str
    title: str
    install: str  # a command; "" where nothing is needed
    language: str  # as Pygments names it
    template: str

    def code(self, base: str, model: str) -> str:
        """base: with /api/v1, as clients are given it."""
        return Template(self.template).safe_substitute(BASE=base, MODEL=model)


_CURL: Final = """\
curl ${BASE}/embeddings \\
  -H "Authorization: Bearer $EMBEDROUTER_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "${MODEL}",
       "input": "Hello, world"}'
"""
_REQUESTS: Final = """\
import os

import requests

answer = requests.post(
    "${BASE}/embeddings",
    headers={"Authorization": f"Bearer {os.environ['EMBEDROUTER_API_KEY']}"},
    json={"model": "${MODEL}", "input": "Hello, world"},
    timeout=60,
)
answer.raise_for_status()
vector = answer.json()["data"][0]["embedding"]
print(len(vector), vector[:3])
"""
_OPENAI: Final = """\
import os

from openai import OpenAI

client = OpenAI(base_url="${BASE}", api_key=os.environ["EMBEDROUTER_API_KEY"])
answer = client.embeddings.create(
    model="${MODEL}",
    input=["Hello, world", "Good morning"],
    extra_headers={
        "HTTP-Referer": "https://app.example.org",  # optional: counts the usage under your app
        "X-OpenRouter-Title": "My app",
    },
)
vector = answer.data[0].embedding
print(len(vector), vector[:3])
"""
_OPENROUTER: Final = """\
import os

from openrouter import OpenRouter

with OpenRouter(server_url="${BASE}", api_key=os.environ["EMBEDROUTER_API_KEY"]) as client:
    answer = client.embeddings.generate(
        model="${MODEL}",
        input=["Hello, world", "Good morning"],
    )
vector = answer.data[0].embedding
print(len(vector), vector[:3])
"""
_FETCH: Final = """\
const answer = await fetch("${BASE}/embeddings", {
  method: "POST",
  headers: {
    Authorization: `Bearer ${process.env.EMBEDROUTER_API_KEY}`,
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    model: "${MODEL}",
    input: "Hello, world",
  }),
});
if (!answer.ok) throw new Error(await answer.text());
const vector = (await answer.json()).data[0].embedding;
console.log(vector.length, vector.slice(0, 3));
"""
_SDK: Final = """\
import { OpenRouter } from "@openrouter/sdk";

const client = new OpenRouter({
  serverURL: "${BASE}",
  apiKey: process.env.EMBEDROUTER_API_KEY,
});
const answer = await client.embeddings.generate({
  requestBody: {
    model: "${MODEL}",
    input: ["Hello, world", "Good morning"],
  },
});
if (typeof answer === "string") throw new Error(answer);
const vector = answer.data[0].embedding;
console.log(vector.length, vector.slice(0, 3));
"""
_OPENAI_NPM: Final = """\
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "${BASE}",
  apiKey: process.env.EMBEDROUTER_API_KEY,
  defaultHeaders: {
    "HTTP-Referer": "https://app.example.org", // optional: counts the usage under your app
    "X-OpenRouter-Title": "My app",
  },
});
const answer = await client.embeddings.create({
  model: "${MODEL}",
  input: ["Hello, world", "Good morning"],
});
const vector = answer.data[0].embedding;
console.log(vector.length, vector.slice(0, 3));
"""

SAMPLES: Final = (
    Sample("curl", "curl", "", "sh", _CURL),
    Sample("requests", "Python requests", "pip install requests", "python", _REQUESTS),
    Sample("openai", "Python openai", "pip install openai", "python", _OPENAI),
    Sample("openrouter", "Python openrouter", "pip install openrouter", "python", _OPENROUTER),
    Sample("fetch", "TypeScript fetch", "", "ts", _FETCH),
    Sample("openrouter-sdk", "@openrouter/sdk", "npm install @openrouter/sdk", "ts", _SDK),
    Sample("openai-npm", "openai (npm)", "npm install openai", "ts", _OPENAI_NPM),
)
