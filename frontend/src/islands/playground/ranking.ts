// Lines by their nearness to a query: all of them, or the best of a search.
import { announce, element } from "../../lib/dom";
import { measured } from "../../lib/numbers";
import { Trouble } from "./api";
import { choice, cosine, field, shade, table, type Stage } from "./view";

const PAGE = 100;

export async function rank(stage: Stage): Promise<void> {
  const form = asking(stage, "Rank", "Rank all lines by their nearness to", async (found) => {
    let shown = PAGE;
    const more = element("button", { type: "button", class: "quiet" }, `Show ${PAGE} more`);
    const draw = (): void => {
      const rows = found.slice(0, shown).map(({ at, score }, place) => [
        String(place + 1), scored(score), String(at + 1), stage.result.texts[at]!,
      ]);
      form.out.replaceChildren(table("Lines by their nearness to the query", ["Rank", "Cosine", "Line", "Text"], rows, [0, 1, 2]));
      if (shown < found.length) form.out.append(more);
    };
    more.addEventListener("click", () => {
      shown += PAGE;
      draw();
    });
    draw();
  });
  stage.root.replaceChildren(element("h2", {}, "Ranking"), form.root);
  await form.again();
}

export async function search(stage: Stage): Promise<void> {
  const { state } = stage;
  const most = choice([10, 25, 50, 100].map((one) => [String(one), String(one)]), String(state.most));
  const least = element("input", { type: "number", min: "-1", max: "1", step: "0.05", value: String(state.least) });
  const form = asking(stage, "Search", "Search the lines for", async (found) => {
    const words = wordsOf(state.query);
    const good = found.filter(({ score }) => score >= state.least).slice(0, state.most);
    if (!good.length) {
      form.out.replaceChildren(element("p", {}, `No line is as near as ${state.least}. The nearest has ${cosine(found[0]!.score)}: lower the limit.`));
      return;
    }
    const rows = good.map(({ at, score }) => [scored(score), String(at + 1), marked(stage.result.texts[at]!, words)]);
    form.out.replaceChildren(table("Found", ["Cosine", "Line", "Text"], rows, [0, 1]));
  });
  for (const control of [most, least]) {
    control.addEventListener("change", () => {
      state.most = Number(most.value);
      state.least = Number(least.value);
      void form.again();
    });
  }
  form.controls.append(field("Results", most), field("Least cosine", least));
  stage.root.replaceChildren(element("h2", {}, "Search"), form.root);
  await form.again();
}

interface Found {
  at: number;
  score: number;
}

interface Form {
  root: HTMLElement;
  controls: HTMLElement;
  out: HTMLElement;
  again: () => Promise<void>;
}

/** A query's form, whose answer is kept until the next one. */
function asking(stage: Stage, word: string, name: string, show: (found: Found[]) => Promise<void>): Form {
  const { state, result } = stage;
  const input = element("input", { type: "search", maxlength: "2000", autocomplete: "off", value: state.query });
  const button = element("button", {}, word);
  const said = element("p", { class: "soft small", role: "status" });
  const out = element("div", { class: "stack tight" });
  const controls = element("div", { class: "row end query" }, field(name, input), button);
  const form = element("form", { class: "stack tight" }, controls, said, out);
  const again = async (): Promise<void> => {
    if (!state.query) {
      said.textContent = "Write what you look for.";
      return;
    }
    if (state.rankOf?.query !== state.query) {
      said.textContent = "Embedding the query";
      button.disabled = true;
      try {
        state.rankOf = { query: state.query, ...(await stage.embedQuery(state.query)) };
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        said.textContent = error.message;
        return;
      } finally {
        button.disabled = false;
      }
    }
    if (stage.signal.aborted) return;
    const { scores, ms } = state.rankOf;
    const found = Array.from(scores, (score, at) => ({ at, score })).sort((one, other) => other.score - one.score);
    said.textContent = `${result.texts.length.toLocaleString("en")} lines, the query in ${measured(ms, "ms")}.`;
    await show(found);
    announce(`${word}: the nearest is line ${found[0]!.at + 1}`);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    state.query = input.value.trim();
    void again();
  });
  return { root: form, controls, out, again };
}

function scored(score: number): HTMLElement {
  return element("span", { class: `score ${shade(score)}` }, cosine(score));
}

function wordsOf(query: string): RegExp | null {
  const words = query.match(/[\p{L}\p{N}]{2,}/gu) ?? [];
  return words.length ? new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})(?![\\p{L}\\p{N}])`, "giu") : null;
}

/** The text with the query's own words marked. */
function marked(text: string, words: RegExp | null): HTMLElement {
  if (!words) return element("span", {}, text);
  const parts = text.split(words);
  return element("span", {}, ...parts.map((part, at) => (at % 2 ? element("mark", {}, part) : part)));
}
