// The vectors as files, made here: nothing is embedded again.
import { element } from "../../lib/dom";
import type { Result } from "./state";

export type Format = "parquet" | "jsonl" | "npy";

export const FORMATS: [Format, string][] = [["parquet", "Parquet"], ["jsonl", "JSONL"], ["npy", ".npy"]];

/** Give the reader a file. */
export async function download(result: Result, format: Format): Promise<void> {
  const url = URL.createObjectURL(new Blob(await made(result, format)));
  element("a", { href: url, download: `embeddings.${format}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function made(result: Result, format: Format): Promise<BlobPart[]> {
  switch (format) {
    case "jsonl":
      return result.texts.map((text, at) => `${JSON.stringify({ index: at, text, embedding: numbers(result, at) })}\n`);
    case "npy":
      return [header(result), new Uint8Array(result.rows.slice().buffer)];
    default:
      return [(await import("./parquet")).parquetOf(result)];
  }
}

/** Nine digits name a float32 exactly. */
function numbers({ rows, dimensions }: Result, at: number): number[] {
  return Array.from(rows.subarray(at * dimensions, (at + 1) * dimensions), (one) => Number(one.toPrecision(9)));
}

/** Of a .npy file, version 1.0: little-endian float32, n x dimensions, padded to 64 bytes. */
function header({ texts, dimensions }: Result): Uint8Array<ArrayBuffer> {
  const told = `{'descr': '<f4', 'fortran_order': False, 'shape': (${texts.length}, ${dimensions}), }`;
  const length = Math.ceil((10 + told.length + 1) / 64) * 64 - 10;
  const bytes = new TextEncoder().encode(`......\x01\x00..${told.padEnd(length - 1)}\n`);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 255, length >> 8]);
  return bytes;
}
