// Ctrl-K: everything that can be gone to, as a combobox with a listbox.
import { element, one } from "./dom";

interface Found {
  kind: string;
  title: string;
  detail: string;
  url: string;
}

const PAUSE = 80; // ms without a key before the server is asked

/** Watch for Ctrl-K, Cmd-K, and the button. */
export function watchPalette(): void {
  const dialog = document.querySelector<HTMLDialogElement>("#palette");
  if (!dialog) return;
  const palette = new Palette(dialog);
  for (const button of document.querySelectorAll("[data-opens=palette]")) {
    button.addEventListener("click", () => palette.open());
  }
  document.addEventListener("keydown", (event) => {
    if (event.key?.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else palette.open();
  });
}

class Palette {
  private readonly input: HTMLInputElement;
  private readonly list: HTMLElement;
  private readonly said: HTMLElement;
  private found: Found[] = [];
  private at = -1;
  private timer = 0; // of a pause in typing; 0: what is typed has been asked for
  private asking: AbortController | null = null;
  private answer: Promise<void> = Promise.resolve(); // of what was asked last; shown when it is kept

  constructor(private readonly dialog: HTMLDialogElement) {
    this.input = one<HTMLInputElement>("input", dialog);
    this.list = one("[role=listbox]", dialog);
    this.said = one(".said", dialog);
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.ask(), PAUSE);
    });
    this.input.addEventListener("keydown", (event) => void this.onKey(event));
    this.list.addEventListener("click", (event) => {
      const option = event.target instanceof Element ? event.target.closest<HTMLElement>("[role=option]") : null;
      if (option) this.go(Number(option.dataset.at));
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  open(): void {
    this.dialog.showModal();
    this.input.select();
    this.ask();
  }

  private ask(): void {
    clearTimeout(this.timer);
    this.timer = 0;
    this.asking?.abort();
    this.asking = new AbortController();
    this.answer = this.find(this.input.value, this.asking.signal);
  }

  private async find(query: string, signal: AbortSignal): Promise<void> {
    const url = `/search.json?${new URLSearchParams({ q: query })}`;
    try {
      const answer = await fetch(url, { signal });
      if (!answer.ok) throw new Error(String(answer.status));
      this.show(((await answer.json()) as { results: Found[] }).results);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      this.show([]);
      this.said.textContent = "The server did not answer. Try again.";
    }
  }

  private show(found: Found[]): void {
    this.found = found;
    this.list.replaceChildren(...found.map((one, at) => option(one, at)));
    this.said.textContent = found.length ? "" : "No models found";
    this.input.setAttribute("aria-expanded", String(found.length > 0));
    this.list.hidden = found.length === 0;
    this.select(found.length ? 0 : -1);
  }

  private select(at: number): void {
    this.at = at;
    for (const [index, option] of [...this.list.children].entries()) {
      option.setAttribute("aria-selected", String(index === at));
      if (index === at) option.scrollIntoView({ block: "nearest" });
    }
    if (at < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `found-${at}`);
  }

  // Keys are about what is typed, not about what is shown for what was typed before.
  private async onKey(event: KeyboardEvent): Promise<void> {
    if (!["ArrowDown", "ArrowUp", "Enter"].includes(event.key) || event.isComposing) return;
    event.preventDefault();
    await this.answered();
    if (!this.dialog.open) return;
    const last = this.found.length - 1;
    if (event.key === "Enter") this.go(this.at);
    else if (last < 0) return;
    else if (event.key === "ArrowDown") this.select(this.at < last ? this.at + 1 : 0);
    else this.select(this.at > 0 ? this.at - 1 : last);
  }

  private async answered(): Promise<void> {
    if (this.timer) this.ask();
    let waited: Promise<void>;
    do {
      waited = this.answer;
      await waited;
    } while (waited !== this.answer);
  }

  private go(at: number): void {
    const chosen = this.found[at];
    if (chosen) location.assign(chosen.url);
  }
}

function option(found: Found, at: number): HTMLElement {
  const made = element(
    "li",
    { role: "option", id: `found-${at}`, "data-at": String(at), "aria-selected": "false" },
    element("span", { class: "tag" }, found.kind),
    element("span", { class: "title" }, found.title),
    element("span", { class: "detail clip" }, found.detail),
  );
  return made;
}
