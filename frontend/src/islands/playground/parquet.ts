// Parquet, loaded when somebody asks for it: index, text, embedding as a list of float32.
import { ByteWriter, parquetWrite } from "hyparquet-writer";
import type { Result } from "./state";

export function parquetOf({ texts, rows, dimensions }: Result): ArrayBuffer {
  const writer = new ByteWriter();
  const vectors = texts.map((_, at) => Array.from(rows.subarray(at * dimensions, (at + 1) * dimensions)));
  parquetWrite({
    writer,
    columnData: [
      { name: "index", data: Int32Array.from(texts.keys()) },
      { name: "text", data: texts },
      { name: "embedding", data: vectors },
    ],
    schema: [
      { name: "schema", num_children: 3 },
      { name: "index", type: "INT32", repetition_type: "REQUIRED" },
      { name: "text", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
      { name: "embedding", repetition_type: "REQUIRED", converted_type: "LIST", num_children: 1 },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
    ],
    codec: "UNCOMPRESSED",
    statistics: false,
    createdBy: "embedrouter",
  });
  return writer.getBuffer();
}
