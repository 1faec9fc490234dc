// Clusters: each named by its most central text.
import { element } from "../../lib/dom";
import { choice, clipped, clustersIn, field, later, type Stage } from "./view";

const MOST_SHOWN = 300; // texts of a cluster
const MOST = 20; // clusters to choose

export async function clusters(stage: Stage): Promise<void> {
  const { state, result, root } = stage;
  if (result.texts.length < 3) return root.replaceChildren(element("p", {}, "Clusters need at least three lines. Add some."));
  const found = await clustersIn(stage);
  stage.signal.throwIfAborted();
  const options: [string, string][] = [["0", "as many as fit best"]];
  for (let k = 2; k <= Math.min(MOST, result.texts.length - 1); k++) options.push([String(k), String(k)]);
  const chosen = choice(options, String(state.chosenClusters));
  chosen.addEventListener("change", () => {
    state.chosenClusters = Number(chosen.value);
    void clusters(stage).catch(() => {});
  });
  const members: number[][] = Array.from({ length: found.k }, () => []);
  for (const [at, cluster] of found.of.entries()) members[cluster]!.push(at);
  const list = element("ol", { class: "rows clusters" });
  for (const [at, texts] of members.entries()) {
    list.append(
      element(
        "li",
        {},
        element(
          "div",
          {},
          element("strong", {}, clipped(result.texts[found.central[at]!]!, 160)),
          element("p", { class: "hint" }, `${texts.length} ${texts.length === 1 ? "line" : "lines"}, mean cosine to the centre ${found.tightness[at]!.toFixed(3)}`),
          later("Lines", () => listed(stage, texts)),
        ),
      ),
    );
  }
  root.replaceChildren(
    element("div", { class: "row end apart" }, element("h2", {}, `${found.k} clusters`), field("How many", chosen)),
    element("p", { class: "soft small" }, `K-means by cosine, each named by its most central line. Silhouette ${found.silhouette.toFixed(3)}: ${meaning(found.silhouette)}.`),
    list,
  );
}

function listed(stage: Stage, texts: number[]): HTMLElement {
  const made = element("ul", { class: "small" });
  for (const at of texts.slice(0, MOST_SHOWN)) made.append(element("li", {}, `${at + 1} · ${stage.result.texts[at]!}`));
  if (texts.length > MOST_SHOWN) made.append(element("li", { class: "soft" }, `${texts.length - MOST_SHOWN} more`));
  return made;
}

function meaning(silhouette: number): string {
  if (silhouette >= 0.5) return "clearly apart";
  if (silhouette >= 0.2) return "apart";
  if (silhouette >= 0.05) return "they overlap";
  return "hardly apart";
}
