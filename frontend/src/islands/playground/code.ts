// The same request for a program, and what comes back.
import { element } from "../../lib/dom";
import type { Stage } from "./view";

const SHOWN = 20; // texts of a request
const NUMBERS = 6; // of a vector

export function code(stage: Stage): void {
  const { result, access, root } = stage;
  const texts = result.texts.slice(0, SHOWN);
  const more = result.texts.length - texts.length;
  const address = access.told.address;
  root.replaceChildren(
    element("h2", {}, "Request and response"),
    ...(more ? [element("p", { class: "soft small" }, `With the first ${SHOWN} of ${result.texts.length.toLocaleString("en")} lines; the API takes 2,048 in a request.`)] : []),
    block("curl", curl(address, result.model.slug, texts)),
    block("Python", python(address, result.model.slug, texts)),
    block("Response, shortened", answer(stage)),
  );
}

function curl(address: string, model: string, input: string[]): string {
  const body = JSON.stringify({ model, input }, null, 1).replaceAll("'", "'\\''");
  return `curl ${address}/api/v1/embeddings \\\n  -H "Authorization: Bearer $EMBEDROUTER_API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${body}'`;
}

function python(address: string, model: string, input: string[]): string {
  const lines = input.map((one) => `        ${JSON.stringify(one)},`).join("\n");
  return `import os

import requests

answer = requests.post(
    "${address}/api/v1/embeddings",
    headers={"Authorization": f"Bearer {os.environ['EMBEDROUTER_API_KEY']}"},
    json={"model": ${JSON.stringify(model)}, "input": [
${lines}
    ]},
)
answer.raise_for_status()
vectors = [row["embedding"] for row in answer.json()["data"]]`;
}

function answer({ result }: Stage): string {
  const numbers = Array.from(result.rows.subarray(0, NUMBERS), (one) => Number(one.toPrecision(8))).join(", ");
  const more = result.texts.length - 1;
  const usage = `{"prompt_tokens": ${result.tokens}, "total_tokens": ${result.tokens}, "cost": ${Number(result.cost.toFixed(12))}}`;
  return `{
  "object": "list",
  "data": [
    {"object": "embedding", "index": 0, "embedding": [${numbers}, … ${result.dimensions} numbers]}${more ? `,\n    … ${more} more` : ""}
  ],
  "model": ${JSON.stringify(result.model.slug)},
  "id": ${JSON.stringify(result.id)},
  "provider": ${JSON.stringify(result.provider)},
  "usage": ${usage}
}`;
}

function block(title: string, text: string): HTMLElement {
  return element(
    "figure",
    { class: "code" },
    element("figcaption", {}, element("span", {}, title), element("button", { type: "button", class: "copy", "aria-label": `Copy ${title}` }, "Copy")),
    element("pre", { tabindex: "0", role: "region", "aria-label": title }, element("code", {}, text)),
  );
}
