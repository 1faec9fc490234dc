// Buttons that copy: data-copy has the text, or else the nearest figure's <code>.
import { announce } from "./dom";

/** Watch the whole page, also what comes later. */
export function watchCopying(): void {
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest<HTMLButtonElement>("button.copy") : null;
    if (!button) return;
    const text = button.dataset.copy ?? button.closest("figure")?.querySelector("code")?.textContent ?? "";
    void copy(text).then((done) => show(button, done));
  });
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // the clipboard is there only over https and on localhost
  }
}

function copyBySelection(text: string): boolean {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "sr";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

function show(button: HTMLButtonElement, done: boolean): void {
  const before = button.dataset.word ?? button.textContent ?? "";
  button.dataset.word = before;
  const told = done ? "Copied" : "Not copied";
  const label = button.dataset.label ?? button.getAttribute("aria-label");
  button.textContent = told;
  if (label !== null) {
    button.dataset.label = label;
    button.setAttribute("aria-label", told); // a name must contain the text that is seen
  }
  button.classList.toggle("done", done);
  announce(done ? "Copied" : "The browser did not let this be copied");
  setTimeout(() => {
    button.textContent = before;
    if (label !== null) button.setAttribute("aria-label", label);
    button.classList.remove("done");
  }, 1500);
}
