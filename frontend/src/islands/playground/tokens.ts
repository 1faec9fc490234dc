// What the model reads: WordPieces, how many, and the windows of long texts.
import { element } from "../../lib/dom";
import { Trouble, tokensOf, type Tokens } from "./api";
import { clipped, type Stage } from "./view";

const PAGE = 10; // lines
const MOST_CHARACTERS = 32_000; // of a page: the server takes no more

export async function tokens(stage: Stage): Promise<void> {
  const { result, root, access } = stage;
  const mean = result.tokens / result.texts.length;
  const head = [
    element("h2", {}, "Tokens"),
    element("p", { class: "soft small" }, `${result.tokens.toLocaleString("en")} tokens in ${result.texts.length.toLocaleString("en")} lines, ${mean.toFixed(1)} a line on average.`),
  ];
  if (!result.model.has_tokenizer) {
    return root.replaceChildren(...head, element("p", {}, `The tokenizer of ${result.model.name} is not on this server: only its provider's count is known.`));
  }
  if (!access.told.signed_in) {
    return root.replaceChildren(...head, element("p", {}, "Sign in to see the WordPieces themselves: a key opens only the API."));
  }
  await page(stage, head);
}

async function page(stage: Stage, head: HTMLElement[]): Promise<void> {
  const { state, result, root, access, signal } = stage;
  const from = Math.max(0, Math.min(state.tokensFrom, result.texts.length - 1));
  const texts = fitting(result.texts.slice(from, from + PAGE));
  let found: Tokens[];
  try {
    found = await tokensOf(access, result.model, texts);
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    return root.replaceChildren(...head, element("p", { class: "note bad", role: "alert" }, error.message));
  }
  if (signal.aborted) return;
  const go = (title: string, to: number): HTMLElement => {
    const button = element("button", { type: "button", class: "quiet" }, title);
    button.disabled = to < 0 || to >= result.texts.length;
    button.addEventListener("click", () => {
      state.tokensFrom = to;
      void page(stage, head);
    });
    return button;
  };
  const list = element("ol", { class: "rows tokens", start: String(from + 1) });
  for (const [at, one] of found.entries()) list.append(line(from + at, texts[at]!, one));
  root.replaceChildren(
    ...head,
    list,
    element(
      "div",
      { class: "pagination" },
      element("span", {}, `Lines ${from + 1}–${from + found.length} of ${result.texts.length.toLocaleString("en")}`),
      element("span", { class: "row" }, go("Previous", from === 0 ? -1 : Math.max(0, from - PAGE)), go("Next", from + found.length)),
    ),
  );
}

/** As many as the server takes at once; the first in any case, though cut. */
function fitting(texts: string[]): string[] {
  const made = [texts[0]!.slice(0, MOST_CHARACTERS)];
  let sum = made[0]!.length;
  for (const text of texts.slice(1)) {
    if ((sum += text.length) > MOST_CHARACTERS) break;
    made.push(text);
  }
  return made;
}

function line(at: number, text: string, found: Tokens): HTMLElement {
  const pieces = element("ol", { class: "pieces", "aria-label": `WordPieces of line ${at + 1}` });
  for (let from = 0; from < Math.max(1, found.pieces.length); from += found.window) {
    const window = found.windows > 1 ? found.pieces.slice(from, from + found.window) : found.pieces;
    pieces.append(special("[CLS]", 101), ...window.map(([id, piece, start, end]) => chip(id, piece, [...text].slice(start, end).join(""))), special("[SEP]", 102));
    if (found.windows === 1) break;
  }
  const windows = found.windows > 1 ? `, ${found.windows} windows of up to ${found.window} each, averaged by length` : "";
  return element(
    "li",
    {},
    element(
      "div",
      { class: "stack tight" },
      element("div", {}, `${at + 1} · ${clipped(text, 200)}`),
      element("p", { class: "hint" }, `${found.tokens} tokens${windows}${found.too_long ? "; more than the model takes without cutting" : ""}`),
      pieces,
    ),
  );
}

function chip(id: number, piece: string, from: string): HTMLElement {
  return element("li", { class: piece.startsWith("##") ? "goes-on" : "", title: `${id}, from “${from}”` }, piece, element("small", {}, String(id)));
}

function special(piece: string, id: number): HTMLElement {
  return element("li", { class: "special" }, piece, element("small", {}, String(id)));
}
