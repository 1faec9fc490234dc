"""The real `@openrouter/sdk` for Node: it checks every answer against its schema, too."""

from pathlib import Path

from server import Server

from .node import answered

_PROGRAM = """
import { OpenRouter } from "@openrouter/sdk";
const { KEY: apiKey, BASE: serverURL } = process.env;
const client = new OpenRouter({ apiKey, serverURL, retryConfig: { strategy: "none" } });
const documents = ["Berlin is in Germany.", { text: "Paris is the capital of France." }];
const asked = { model: process.env.MODEL, query: "the capital of France", documents, topN: 1 };
const answer = await client.rerank.rerank({ requestBody: asked });
let error;
try {
  await client.rerank.rerank({ requestBody: { ...asked, query: "" } });
} catch (caught) {
  error = [caught.constructor.name, caught.message];
}
console.log(JSON.stringify({ answer, error }));
"""


def test_rerank(live: Server, tmp_path: Path) -> None:
    found = answered(_PROGRAM, live, tmp_path)
    (best,) = found["answer"]["results"]
    assert (best["index"], best["document"]["text"]) == (1, "Paris is the capital of France.")
    assert found["answer"]["usage"]["searchUnits"] == 1
    assert found["error"] == ["BadRequestResponseError", "query is empty; every text must have at least one character"]
