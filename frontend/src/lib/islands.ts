// <div data-island="chart"> is brought to life by src/islands/chart.ts, loaded where a page has one.

/** What each file of src/islands/ exports. */
export interface Island {
  mount(root: HTMLElement): void | Promise<void>;
}

const loaders = import.meta.glob<Island>("../islands/*.ts");
const mounted = new WeakSet<HTMLElement>();

/** Load and start the islands in a part of the page, each once. */
export function mountIslands(part: ParentNode): void {
  const found = [...part.querySelectorAll<HTMLElement>("[data-island]")];
  if (part instanceof HTMLElement && part.dataset.island) found.push(part);
  for (const root of found) {
    if (mounted.has(root)) continue;
    mounted.add(root);
    const load = loaders[`../islands/${root.dataset.island}.ts`];
    if (!load) throw new Error(`no such island: ${root.dataset.island}`);
    void load()
      .then((island) => island.mount(root))
      .then(() => root.toggleAttribute("data-mounted", true));
  }
}
