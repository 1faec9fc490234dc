// The tokens of style/tokens.css as colours that a canvas understands.

/** The colours of the theme that is shown, by their names without the dashes. */
export function colours(...names: string[]): string[] {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}
