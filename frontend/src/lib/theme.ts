// The switch works as a form; with scripts, at once and without a new page.
import { announce } from "./dom";

/** Heard on `document` when the theme that is shown has changed. */
export const THEME_CHANGED = "embedrouter:theme";

/** Watch the switch, and the system's own. */
export function watchTheme(): void {
  const form = document.querySelector<HTMLFormElement>("form.theme");
  form?.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!(button instanceof HTMLButtonElement)) return;
    event.preventDefault();
    const body = new URLSearchParams({ theme: button.value, next: "/" });
    void fetch(form.action, { method: "POST", body, redirect: "manual" });
    choose(form, button);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
}

function choose(form: HTMLFormElement, chosen: HTMLButtonElement): void {
  if (chosen.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen.value;
  for (const one of form.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === chosen));
  announce(`Theme: ${chosen.textContent?.trim()}`);
  tell();
}

function tell(): void {
  document.dispatchEvent(new CustomEvent(THEME_CHANGED));
}
