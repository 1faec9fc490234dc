// Files that the browser reads: a text a line, or a column of a table.
import { Trouble } from "./api";

export const MOST_LINES = 3000;
const LARGEST = 16 * 1024 * 1024; // bytes

/** Texts by column; a plain text has one column, "". */
export interface Table {
  columns: string[];
  texts: (column: string) => string[];
}

/** Read a file. Throws Trouble that names the row. */
export async function readTable(file: File): Promise<Table> {
  if (file.size > LARGEST) throw new Trouble(`${file.name} has ${mib(file.size)} MiB; the most is ${mib(LARGEST)}.`);
  const text = decode(await file.arrayBuffer(), file.name);
  const kind = /\.([a-z]+)$/i.exec(file.name)?.[1]?.toLowerCase();
  if (kind === "csv" || kind === "tsv") return tableOf(records(text, kind === "tsv" ? "\t" : separator(text)), file.name);
  if (kind === "jsonl" || kind === "ndjson") return tableOfJson(text, file.name);
  return { columns: [""], texts: () => bounded(linesOf(text), file.name) };
}

/** A text's lines, without empty ones. */
export function linesOf(text: string): string[] {
  return text.split(/\r\n|\r|\n/).map((line) => line.trim()).filter(Boolean);
}

function mib(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1).replace(/\.0$/, "");
}

function decode(bytes: ArrayBuffer, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Trouble(`${name} is not UTF-8. Save it as UTF-8, then choose it again.`);
  }
}

function bounded(texts: string[], name: string): string[] {
  if (texts.length > MOST_LINES) {
    throw new Trouble(
      `${name} has ${texts.length.toLocaleString("en")} lines; the Playground takes ${MOST_LINES.toLocaleString("en")}. For more, use embedrouter embed on the command line.`,
    );
  }
  if (!texts.length) throw new Trouble(`${name} has no text there.`);
  return texts;
}

function separator(text: string): string {
  const head = text.slice(0, text.search(/[\r\n]|$/));
  return head.split(";").length > head.split(",").length ? ";" : ",";
}

/** The records of a CSV, by RFC 4180. */
function records(text: string, by: string): string[][] {
  const found: string[][] = [];
  let record: string[] = [];
  let cell = "";
  let quoted = false;
  let line = 1;
  let opened = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === "\n") line++;
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') (cell += '"'), at++;
      else quoted = false;
    } else if (character === '"' && cell === "") {
      quoted = true;
      opened = line;
    } else if (character === by) {
      record.push(cell);
      cell = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && text[at + 1] === "\n") continue;
      record.push(cell);
      found.push(record);
      record = [];
      cell = "";
    } else cell += character;
  }
  if (quoted) throw new Trouble(`Row ${opened}: a quotation mark is opened and not closed.`);
  if (cell || record.length) found.push([...record, cell]);
  return found.filter((one) => one.some((value) => value.trim()));
}

function tableOf(found: string[][], name: string): Table {
  const head = found[0];
  if (!head || found.length < 2) throw new Trouble(`${name} has no rows below its head.`);
  for (const [at, record] of found.entries()) {
    if (record.length !== head.length) {
      throw new Trouble(`Row ${at + 1} of ${name} has ${record.length} columns, the head has ${head.length}.`);
    }
  }
  const columns = head.map((title, at) => title.trim() || `column ${at + 1}`);
  const texts = (column: string): string[] => {
    const at = Math.max(0, columns.indexOf(column));
    return bounded(found.slice(1).map((record) => flat(record[at]!)).filter(Boolean), name);
  };
  return { columns, texts };
}

function tableOfJson(text: string, name: string): Table {
  const rows: Record<string, unknown>[] = [];
  for (const [at, line] of text.split(/\r\n|\n/).entries()) {
    if (!line.trim()) continue;
    rows.push(record(line, `Row ${at + 1} of ${name}`));
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row).filter((key) => typeof row[key] === "string")))];
  if (!columns.length) throw new Trouble(`${name} has no field whose value is a text.`);
  const texts = (column: string): string[] =>
    bounded(
      rows.map((row, at) => {
        const value = row[column];
        if (typeof value !== "string") throw new Trouble(`Row ${at + 1} of ${name} has no text in "${column}".`);
        return flat(value);
      }).filter(Boolean),
      name,
    );
  return { columns, texts };
}

function record(line: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Trouble(`${where} is not JSON.`);
  }
  if (typeof value === "string") return { text: value };
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Trouble(`${where} is neither an object nor a text.`);
  }
  return value as Record<string, unknown>;
}

function flat(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
