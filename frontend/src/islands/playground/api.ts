// What is asked of the server: embeddings in batches, WordPieces.
import { unitRows, type Offered, type Result, type Told } from "./state";

const BATCH = 128; // texts of a request
const BATCH_CHARACTERS = 200_000;
const AT_ONCE = 2; // requests
const TRIES = 4;
const PATIENCE = 60; // seconds that a refusal may ask us to wait

/** Something to tell the reader, in words. */
export class Trouble extends Error {}

export interface Access {
  told: Told;
  key: string; // "" for who is signed in
}

interface Answer {
  data: { index: number; embedding: string }[];
  model: string;
  id: string;
  provider: string;
  usage: { prompt_tokens: number; cost?: number };
}

export interface Piece {
  id: number;
  text: string;
  start: number;
  end: number;
}

export interface Tokens {
  tokens: number;
  windows: number;
  window: number;
  too_long: boolean;
  pieces: [number, string, number, number][];
}

/** Embed all texts. told: of texts done. */
export async function embedAll(
  access: Access,
  model: Offered,
  texts: string[],
  signal: AbortSignal,
  told: (done: number, note: string) => void,
): Promise<Result> {
  const started = performance.now();
  const parts = batches(texts);
  const answers = new Array<Answer>(parts.length);
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < parts.length; at = next++) {
      const { from, to } = parts[at]!;
      const body = { model: model.slug, input: texts.slice(from, to), encoding_format: "base64" };
      answers[at] = await ask<Answer>(access, body, from, signal, (note) => told(done, note));
      done += to - from;
      told(done, "");
    }
  };
  const failing = new AbortController();
  const both = AbortSignal.any([signal, failing.signal]);
  signal = both;
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, parts.length) }, work));
  } catch (error) {
    failing.abort();
    throw error;
  }
  return resultOf(model, texts, answers, performance.now() - started);
}

function batches(texts: string[]): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  let from = 0;
  let characters = 0;
  for (const [at, text] of texts.entries()) {
    if (at > from && (at - from >= BATCH || characters + text.length > BATCH_CHARACTERS)) {
      found.push({ from, to: at });
      from = at;
      characters = 0;
    }
    characters += text.length;
  }
  if (from < texts.length) found.push({ from, to: texts.length });
  return found;
}

function resultOf(model: Offered, texts: string[], answers: Answer[], ms: number): Result {
  const data = answers.flatMap((answer) => answer.data);
  const first = decoded(data[0]!.embedding);
  const dimensions = first.length;
  const rows = new Float32Array(texts.length * dimensions);
  for (const [at, one] of data.entries()) rows.set(decoded(one.embedding), at * dimensions);
  const last = answers.at(-1)!;
  return {
    model,
    texts,
    dimensions,
    rows,
    unit: unitRows(rows, dimensions),
    tokens: answers.reduce((sum, one) => sum + one.usage.prompt_tokens, 0),
    cost: answers.reduce((sum, one) => sum + (one.usage.cost ?? 0), 0),
    ms,
    requests: answers.length,
    queries: { tokens: 0, cost: 0, requests: 0 },
    id: last.id,
    provider: last.provider,
  };
}

function decoded(embedding: string): Float32Array {
  const bytes = Uint8Array.from(atob(embedding), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

/** One request, again where the server asks for patience. first: the number of its first text, for errors. */
async function ask<T>(
  access: Access,
  body: unknown,
  first: number,
  signal: AbortSignal,
  told: (note: string) => void,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    const answer = await send(access, body, signal);
    if (answer.ok) return (await answer.json()) as T;
    const wait = Number(answer.headers.get("Retry-After") ?? "0");
    if (![429, 503].includes(answer.status) || tried === TRIES || wait <= 0 || wait > PATIENCE) {
      throw await troubleOf(answer, access, first);
    }
    told(`The server asks to wait ${wait} s`);
    await pause(wait * 1000, signal);
  }
}

function send(access: Access, body: unknown, signal: AbortSignal): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", body: JSON.stringify(body), signal };
  const sent = access.told.signed_in
    ? fetch("/api/internal/embeddings", { ...options, headers })
    : fetch("/api/v1/embeddings", {
        ...options,
        headers: { ...headers, Authorization: `Bearer ${access.key}` },
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
  return sent.catch(unreachable);
}

function unreachable(error: unknown): never {
  if (error instanceof DOMException && error.name === "AbortError") throw error;
  throw new Trouble("The server did not answer. Look whether it runs and this machine is online, then try again.");
}

async function troubleOf(answer: Response, access: Access, first: number): Promise<Trouble> {
  const found = (await answer.json().catch(() => null)) as {
    error?: { message?: string; metadata?: { index?: number } };
  } | null;
  const index = found?.error?.metadata?.index;
  const place = index === undefined ? "" : ` (line ${first + index + 1})`;
  const message = `${found?.error?.message ?? `the server answered ${answer.status}`}${place}`;
  const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  switch (answer.status) {
    case 401:
      return new Trouble(
        access.told.signed_in
          ? "You are not signed in any more. Sign in in another tab, then embed again."
          : `${sentence} Check the key, or sign in.`,
      );
    case 402:
      return new Trouble(`${sentence} Raise the key's limit or add credits, then embed again.`);
    case 429:
      return new Trouble(`${sentence} Wait a minute, or raise the key's limits.`);
    default:
      return new Trouble(sentence);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    });
  });
}

/** The WordPieces of some texts. */
export async function tokensOf(access: Access, model: Offered, texts: string[]): Promise<Tokens[]> {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ model: model.slug, texts });
  const answer = await fetch("/api/internal/tokens", { method: "POST", headers, body }).catch(unreachable);
  if (!answer.ok) throw await troubleOf(answer, access, 0);
  return ((await answer.json()) as { data: Tokens[] }).data;
}
