// What a view is, and what several of them show.
import { element } from "../../lib/dom";
import type { Access } from "./api";
import type { Clusters, Result, State } from "./state";
import { compute } from "./compute";

export interface Stage {
  root: HTMLElement; // empty, and attached
  state: State;
  result: Result;
  access: Access;
  signal: AbortSignal; // ends when the reader looks at something else
  embedQuery: (query: string) => Promise<{ scores: Float32Array; ms: number }>;
}

export type View = (stage: Stage) => void | Promise<void>;

const LONGEST = 120; // characters of a text in a list

export function clipped(text: string, most = LONGEST): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

export function cosine(value: number): string {
  return value.toFixed(4);
}

/** A darker cell for a nearer pair; see pages/playground.css. */
export function shade(score: number): string {
  return `number shade-${Math.max(0, Math.min(9, Math.floor(score * 10)))}`;
}

/** A bar that tells how far a computation is, with a button that ends it. */
export function waiting(stage: Stage, what: string, cancel?: () => void): (share: number) => void {
  const bar = element("progress", { max: "1", value: "0", "aria-label": what });
  const shown = element("div", { class: "stack tight computing" }, element("p", { class: "soft small", role: "status" }, what), bar);
  if (cancel) {
    const button = element("button", { type: "button", class: "quiet" }, "Cancel");
    button.addEventListener("click", cancel);
    shown.append(button);
  }
  stage.root.replaceChildren(shown);
  return (share) => {
    bar.value = share;
  };
}

/** A table that scrolls by itself. number: which columns are numbers. */
export function table(caption: string, head: string[], rows: Iterable<(string | Node)[]>, number: number[]): HTMLElement {
  const cell = (name: "th" | "td", content: string | Node, at: number): HTMLElement => {
    const made = element(name, name === "th" ? { scope: "col" } : {}, content);
    if (number.includes(at)) made.classList.add("number");
    return made;
  };
  const body = element("tbody");
  for (const row of rows) body.append(element("tr", {}, ...row.map((one, at) => cell("td", one, at))));
  return element(
    "div",
    { class: "table", role: "region", "aria-label": caption, tabindex: "0" },
    element(
      "table",
      {},
      element("caption", { class: "sr" }, caption),
      element("thead", {}, element("tr", {}, ...head.map((one, at) => cell("th", one, at)))),
      body,
    ),
  );
}

/** A field with its name. */
export function field(name: string, control: HTMLElement): HTMLLabelElement {
  return element("label", {}, name, control);
}

/** A choice; values and what they are called. */
export function choice(options: [string, string][], chosen: string): HTMLSelectElement {
  const made = element("select");
  for (const [value, title] of options) made.append(new Option(title, value, false, value === chosen));
  return made;
}

/** What opens, filled when it does. */
export function later(title: string, fill: () => Node): HTMLDetailsElement {
  const made = element("details", {}, element("summary", {}, title));
  made.addEventListener("toggle", () => made.open && made.childElementCount === 1 && made.append(fill()));
  return made;
}

/** The clusters, if they are there. */
export function clustersKnown({ state }: Stage): Clusters | null {
  return state.clusters?.chosen === state.chosenClusters ? state.clusters : null;
}

/** The clusters, computed if they are not there. wait: shows that it takes a while. */
export async function clustersIn(
  stage: Stage,
  wait: () => (share: number) => void = () => waiting(stage, "Finding clusters"),
): Promise<Clusters> {
  const { state, result, signal } = stage;
  return clustersKnown(stage) ?? (state.clusters = await compute("clusters", result, signal, wait(), state.chosenClusters));
}
