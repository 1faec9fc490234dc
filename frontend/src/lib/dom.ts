// Small helpers, so that islands stay short.

/** The one element that matches; an error if there is none. */
export function one<T extends Element = HTMLElement>(selector: string, root: ParentNode = document): T {
  const found = root.querySelector<T>(selector);
  if (!found) throw new Error(`nothing matches ${selector}`);
  return found;
}

/** The data in a <script type="application/json"> inside. */
export function dataOf<T>(root: ParentNode): T {
  return JSON.parse(one("script[type='application/json']", root).textContent ?? "null") as T;
}

/** An element with attributes and children; text is text, never markup. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Tell who listens to a screen reader. */
export function announce(text: string): void {
  one("#announcer").textContent = text;
}
