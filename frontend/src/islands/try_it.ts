// Calls an operation of the API from its page of the reference. The key is read from its field when it is sent, and
// kept nowhere.
import { one } from "../lib/dom";

const LONGEST = 200_000; // characters of an answer that are shown

export function mount(root: HTMLElement): void {
  const form = root as HTMLFormElement;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(form);
  });
  sender(form).disabled = false; // until now the browser itself would have sent the form
}

function sender(form: HTMLFormElement): HTMLButtonElement {
  return one<HTMLButtonElement>("button:not(.copy)", form);
}

async function send(form: HTMLFormElement): Promise<void> {
  const button = sender(form);
  button.disabled = true;
  const started = performance.now();
  try {
    const answer = await fetch(addressOf(form), requestOf(form));
    const text = await answer.text();
    const elapsed = performance.now() - started;
    show(form, `${answer.status} ${answer.statusText}`.trim(), answer.ok, elapsed, headersOf(answer), pretty(text));
  } catch (error) {
    show(form, "no answer", false, performance.now() - started, "", String(error));
  } finally {
    button.disabled = false;
  }
}

function addressOf(form: HTMLFormElement): string {
  let path = form.dataset.path ?? "";
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll<HTMLInputElement>("[data-parameter]")) {
    const name = field.dataset.parameter ?? "";
    if (field.dataset.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(field.value));
    else if (field.dataset.in === "query" && field.value) query.append(name, field.value);
  }
  return query.size ? `${path}?${query}` : path;
}

function requestOf(form: HTMLFormElement): RequestInit {
  const headers = new Headers();
  const key = form.querySelector<HTMLInputElement>("[data-key]")?.value.trim();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  for (const field of form.querySelectorAll<HTMLInputElement>("[data-in=header]")) {
    if (field.value) headers.set(field.dataset.parameter ?? "", field.value);
  }
  const body = form.querySelector<HTMLTextAreaElement>("[data-body]")?.value ?? null;
  if (body !== null) headers.set("Content-Type", "application/json");
  return { method: form.dataset.method ?? "GET", headers, body, credentials: "omit", cache: "no-store" };
}

function headersOf(answer: Response): string {
  return [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
}

/** JSON with its lists of numbers on one line each; anything else as it is. */
function pretty(text: string): string {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2).replace(/\[\s+(-?[\d.e+-]+(?:,\s+-?[\d.e+-]+)*)\s+\]/g, (list) =>
      list.replace(/\s+/g, " "),
    );
  } catch {
    // not JSON
  }
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST)}\n… ${shown.length - LONGEST} more characters` : shown;
}

function show(form: HTMLFormElement, status: string, ok: boolean, ms: number, headers: string, text: string): void {
  const tag = one("[data-status]", form);
  tag.textContent = status;
  tag.className = `tag ${ok ? "good" : "bad"}`;
  one("[data-time]", form).textContent = `${ms.toFixed(0)} ms`;
  one("[data-headers]", form).textContent = headers;
  one("[data-text]", form).textContent = text;
  one("[data-answer]", form).hidden = false;
}
