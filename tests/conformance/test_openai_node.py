"""The real `openai` for Node: batches by files."""

from pathlib import Path

import numpy as np

from server import Server, decoded

from .node import answered

_PROGRAM = """
import OpenAI, { toFile } from "openai";
const { KEY: apiKey, BASE: baseURL, MODEL: model } = process.env;
const client = new OpenAI({ apiKey, baseURL, maxRetries: 0 });
const lines = [["good", "A first text."], ["bad", "word ".repeat(9000)]].map(([custom_id, input]) =>
  JSON.stringify({ custom_id, method: "POST", url: "/v1/embeddings", body: { model, input } }));
const content = await toFile(Buffer.from(lines.join("\\n")), "in.jsonl");
const file = await client.files.create({ file: content, purpose: "batch" });
const kind = { endpoint: "/v1/embeddings", completion_window: "24h" };
let batch = await client.batches.create({ ...kind, input_file_id: file.id, metadata: { by: "node" } });
const begun = batch.status;
while (!["completed", "failed", "cancelled"].includes(batch.status)) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  batch = await client.batches.retrieve(batch.id);
}
const read = async (id) => {
  const answer = await client.files.content(id);
  return (await answer.text()).trim().split("\\n").map((line) => JSON.parse(line));
};
const [output, errors] = [await read(batch.output_file_id), await read(batch.error_file_id)];
const listed = [];
for await (const one of client.batches.list({ limit: 1 })) listed.push(one.id);
const deleted = await client.files.delete(file.id);
let error;
try {
  await client.batches.cancel(batch.id);
} catch (caught) {
  error = [caught.constructor.name, caught.status];
}
console.log(JSON.stringify({ begun, batch, output, errors, listed, deleted, error }));
"""


def test_a_file_becomes_a_batch_and_its_results_are_read(live: Server, tmp_path: Path) -> None:
    found = answered(_PROGRAM, live, tmp_path)
    batch = found["batch"]
    assert found["begun"] in {"validating", "in_progress", "finalizing", "completed"}
    assert (batch["status"], batch["metadata"]) == ("completed", {"by": "node"})
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (good,), (bad,) = found["output"], found["errors"]
    assert (good["custom_id"], bad["custom_id"]) == ("good", "bad")
    (row,) = good["response"]["body"]["data"]
    assert np.array_equal([decoded(row["embedding"])], live.embed("A first text.").vectors())
    assert bad["response"]["status_code"] == 400
    assert batch["id"] in found["listed"]
    assert found["deleted"]["deleted"] is True
    assert found["error"] == ["ConflictError", 409]
