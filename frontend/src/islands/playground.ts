// /playground: the form, what it embeds, and the views of it. The modules beside have one job each.
import { announce, dataOf, element, one } from "../lib/dom";
import { measured } from "../lib/numbers";
import { embedAll, Trouble, type Access } from "./playground/api";
import { clusters } from "./playground/clusters";
import { code } from "./playground/code";
import { download, FORMATS } from "./playground/download";
import { linesOf, MOST_LINES, readTable, type Table } from "./playground/files";
import { matrix } from "./playground/matrix";
import { rank, search } from "./playground/ranking";
import { dot, State, type Result, type Told } from "./playground/state";
import { tokens } from "./playground/tokens";
import type { Stage, View } from "./playground/view";

const VIEWS: Record<string, View> = {
  matrix,
  rank,
  search,
  clusters,
  // ECharts comes with it.
  map: async (stage) => (await import("./playground/map")).map(stage),
  tokens,
  code,
};

const LARGE_PASTE = 20_000; // characters; below, the browser's own way, which can be undone

export function mount(root: HTMLElement): void {
  new Playground(root);
}

class Playground {
  private readonly told: Told;
  private readonly form: HTMLFormElement;
  private readonly texts: HTMLTextAreaElement;
  private readonly query: HTMLInputElement;
  private readonly state = new State();
  private looking = new AbortController();
  private embedding: AbortController | null = null;

  constructor(private readonly root: HTMLElement) {
    this.told = dataOf<Told>(root);
    this.form = one<HTMLFormElement>("form", root);
    this.texts = one<HTMLTextAreaElement>("textarea", root);
    this.query = one<HTMLInputElement>("[name=query]", root);
    this.state.query = this.query.value;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.embed();
    });
    this.button("cancel").addEventListener("click", () => this.embedding?.abort());
    this.texts.addEventListener("input", () => this.count());
    this.texts.addEventListener("paste", (event) => this.paste(event));
    for (const link of root.querySelectorAll<HTMLElement>("[data-example]")) {
      link.addEventListener("click", (event) => this.start(event, link.dataset.example ?? ""));
    }
    for (const tab of root.querySelectorAll<HTMLAnchorElement>(".tabs a")) {
      tab.addEventListener("click", (event) => this.turn(event, tab));
    }
    window.addEventListener("popstate", () => this.look());
    this.watchFiles();
    this.mark();
    this.count();
  }

  // --- what is embedded

  private async embed(): Promise<void> {
    this.fail("");
    const lines = linesOf(this.texts.value);
    const model = this.told.models.find(({ slug }) => slug === one<HTMLSelectElement>("[name=model]", this.form).value);
    const access = this.access();
    if (!model) return this.fail("No model is served yet: switch the built-in one on, or add a provider's credential.");
    if (!lines.length) return this.fail("Write a text, or start from an example.");
    if (lines.length > MOST_LINES) {
      return this.fail(`${count(lines.length)} lines are more than ${count(MOST_LINES)}. For more, use embedrouter embed on the command line.`);
    }
    if (!this.told.signed_in && !access.key) return this.fail("Paste an API key, or sign in and need none.");
    const giving = (this.embedding = new AbortController());
    const bar = one<HTMLProgressElement>("[data-progress]", this.form);
    this.busy(true);
    bar.value = 0;
    try {
      const told = (done: number, note: string): void => {
        bar.value = done / lines.length;
        one("[data-count]", this.root).textContent = note || `${count(done)} of ${count(lines.length)} lines`;
      };
      this.state.take(await embedAll(access, model, lines, giving.signal, told));
      this.show();
      announce(`${count(lines.length)} lines are embedded`);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") announce("Given up");
      else if (error instanceof Trouble) this.fail(error.message);
      else throw error;
    } finally {
      this.busy(false);
      this.count();
    }
  }

  private access(): Access {
    return { told: this.told, key: this.root.querySelector<HTMLInputElement>("[data-key]")?.value.trim() ?? "" };
  }

  private async embedQuery(query: string): Promise<{ scores: Float32Array; ms: number }> {
    const result = this.state.result!;
    const found = await embedAll(this.access(), result.model, [query], new AbortController().signal, () => {});
    const scores = Float32Array.from(result.texts.keys(), (at) => dot(result.unit, at, found.unit, 0, result.dimensions));
    const { queries } = result;
    queries.tokens += found.tokens;
    queries.cost += found.cost;
    queries.requests += 1;
    this.stats(result);
    return { scores, ms: found.ms };
  }

  private busy(on: boolean): void {
    one<HTMLButtonElement>("button:not([type=button])", this.form).disabled = on;
    this.button("cancel").hidden = !on;
    one("[data-progress]", this.form).hidden = !on;
  }

  private fail(message: string): void {
    const note = one("[data-error]", this.form);
    note.textContent = message;
    note.hidden = !message;
  }

  // --- where texts come from

  private start(event: Event, key: string): void {
    const example = this.told.examples.find((one) => one.key === key);
    if (!example) return;
    event.preventDefault();
    this.put(example.texts);
    this.state.query = this.query.value = example.query;
    announce(`${example.title}: ${example.texts.length} lines`);
  }

  private watchFiles(): void {
    const input = one<HTMLInputElement>("[name=file]", this.form);
    const column = one("[data-column]", this.form);
    const select = one<HTMLSelectElement>("select", column);
    let table: Table | null = null;
    const take = (name: string): void => this.trying(() => table && this.put(table.texts(name)));
    select.addEventListener("change", () => take(select.value));
    input.addEventListener("change", async () => {
      const file = input.files?.[0];
      this.fail("");
      column.hidden = true;
      if (!file) return;
      try {
        table = await readTable(file);
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        return this.fail(error.message);
      }
      const { columns } = table;
      select.replaceChildren(...columns.map((name) => new Option(name)));
      column.hidden = columns.length < 2;
      const likely = columns.find((name) => /^(text|content|body|title|sentence|question)$/i.test(name)) ?? columns[0]!;
      select.value = likely;
      take(likely);
    });
  }

  private trying(work: () => void): void {
    this.fail("");
    try {
      work();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.fail(error.message);
    }
  }

  /** Thousands of lines at once: Chromium itself needs a second for a thousand, and more than twice that for two. */
  private paste(event: ClipboardEvent): void {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length < LARGE_PASTE) return;
    event.preventDefault();
    this.texts.setRangeText(text, this.texts.selectionStart, this.texts.selectionEnd, "end");
    this.count();
  }

  private put(texts: string[]): void {
    this.texts.value = texts.join("\n");
    this.count();
  }

  private count(): void {
    const lines = linesOf(this.texts.value).length;
    one("[data-count]", this.root).textContent = `${count(lines)} ${lines === 1 ? "line" : "lines"}`;
  }

  // --- what is shown

  private turn(event: MouseEvent, tab: HTMLAnchorElement): void {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    history.pushState(null, "", tab.href);
    this.look();
  }

  private view(): string {
    const named = new URLSearchParams(location.search).get("view") ?? "";
    return named in VIEWS ? named : "matrix";
  }

  private mark(): void {
    const view = this.view();
    for (const tab of this.root.querySelectorAll<HTMLAnchorElement>(".tabs a")) {
      if (new URL(tab.href).searchParams.get("view") === view) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
  }

  private show(): void {
    this.root.querySelector("[data-served]")?.remove();
    this.root.querySelector("[data-empty]")?.remove();
    this.stats(this.state.result!);
    this.look();
  }

  private look(): void {
    this.mark();
    this.looking.abort();
    const { result, state } = this;
    if (!result) return;
    const looking = (this.looking = new AbortController());
    const section = one("[data-view]", this.root);
    section.hidden = false;
    section.dataset.shows = "";
    const body = element("div", { class: "stack" });
    section.replaceChildren(body);
    const stage: Stage = {
      root: body,
      state,
      result,
      access: this.access(),
      signal: looking.signal,
      embedQuery: (query) => this.embedQuery(query),
    };
    const view = this.view();
    void Promise.resolve(VIEWS[view]!(stage)).then(
      () => {
        if (!looking.signal.aborted) section.dataset.shows = view;
      },
      (error: unknown) => {
        if (looking.signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        body.replaceChildren(element("p", { class: "note bad", role: "alert" }, message));
      },
    );
  }

  private get result(): Result | null {
    return this.state.result;
  }

  private stats(result: Result): void {
    const list = one("[data-stats]", this.root);
    const { queries } = result;
    const requests = result.requests + queries.requests;
    list.hidden = false;
    const links = FORMATS.map(([format, title]) => {
      const button = element("button", { type: "button", class: "copy", "aria-label": `Download the vectors as ${title}` }, title);
      button.addEventListener("click", () => void download(result, format));
      return button;
    });
    const downloads = one("[data-downloads]", this.root);
    downloads.hidden = false;
    downloads.replaceChildren(element("span", { class: "soft small" }, "Download the vectors"), ...links);
    list.replaceChildren(
      stat("Lines", count(result.texts.length), `${result.dimensions} dimensions`),
      stat("Tokens", count(result.tokens), queries.tokens ? `and ${count(queries.tokens)} of queries` : "of all lines"),
      stat("Cost", measured(result.cost + queries.cost, "usd"), `${requests} ${requests === 1 ? "request" : "requests"}`),
      stat("Latency", measured(result.ms, "ms"), `by ${result.provider}`),
    );
  }

  private button(name: string): HTMLButtonElement {
    return one<HTMLButtonElement>(`[data-${name}]`, this.form);
  }
}

function stat(title: string, value: string, hint: string): HTMLElement {
  return element(
    "div",
    { class: "stat" },
    element("dt", { class: "label" }, title),
    element("dd", { class: "value" }, value),
    element("dd", { class: "hint" }, hint),
  );
}

function count(value: number): string {
  return value.toLocaleString("en");
}
