// Two dimensions: PCA at once, UMAP when asked.
import { element } from "../../lib/dom";
import { basics, echarts, look, tooltip } from "../../lib/echarts";
import { THEME_CHANGED } from "../../lib/theme";
import { compute } from "./compute";
import type { Clusters, Projection } from "./state";
import { choice, clipped, clustersIn, clustersKnown, field, later, table, waiting, type Stage } from "./view";

const FEWEST = { pca: 3, umap: 5 };
const WRAP = 60; // characters of a label's line

export async function map(stage: Stage): Promise<void> {
  const { state, result, root } = stage;
  if (result.texts.length < FEWEST[state.projection]) {
    if (state.projection === "umap" && result.texts.length >= FEWEST.pca) state.projection = "pca";
    else return root.replaceChildren(element("p", {}, "A map needs at least three lines. Add some."));
  }
  const points = await pointsIn(stage);
  stage.signal.throwIfAborted();
  const known = clustersKnown(stage);
  const colour = show(stage, known, points);
  if (known) return;
  // They take longer than the directions: the map is there at once, its colours come later.
  const found = await clustersIn(stage, () => () => {});
  stage.signal.throwIfAborted();
  colour(found);
}

async function pointsIn(stage: Stage): Promise<Float32Array> {
  const { state, result } = stage;
  const known = state.maps[state.projection];
  if (known) return known;
  const giving = new AbortController();
  const signal = AbortSignal.any([stage.signal, giving.signal]);
  const tell = waiting(stage, state.projection === "umap" ? "Laying out by UMAP" : "Finding the main directions", () => giving.abort());
  try {
    return (state.maps[state.projection] = await compute(state.projection, result, signal, tell));
  } catch (error) {
    if (!giving.signal.aborted || stage.signal.aborted || state.projection === "pca") throw error;
    state.projection = "pca";
    return pointsIn(stage);
  }
}

/** The map; what it returns gives it its colours. */
function show(stage: Stage, found: Clusters | null, points: Float32Array): (found: Clusters) => void {
  const { state, result, root, signal } = stage;
  const { texts } = result;
  const kinds = choice([["pca", "PCA"], ["umap", "UMAP"]], state.projection);
  if (texts.length < FEWEST.umap) kinds.options[1]!.disabled = true;
  kinds.addEventListener("change", () => {
    state.projection = kinds.value as Projection;
    void map(stage).catch(() => {});
  });
  const canvas = element("div", { class: "canvas", role: "img", "aria-label": `Map of ${texts.length} lines by ${state.projection.toUpperCase()}. The table below has the same.` });
  const explained = state.projection === "pca" ? "The two directions in which the lines differ most." : "Near lines stay near; far distances mean little.";
  const caption = element("figcaption", { class: "soft" });
  const told = (): string => `${explained} ${found ? "Colours are the clusters." : "Finding clusters for the colours."}`;
  caption.textContent = told();
  const listed = (): HTMLDetailsElement => later("Table", () => listing(texts, found, points));
  let behind = listed();
  root.replaceChildren(
    element("div", { class: "row end apart" }, element("h2", {}, "Map"), field("Laid out by", kinds)),
    element("figure", { class: "chart tall" }, caption, canvas),
    behind,
  );
  const chart = echarts.init(canvas, null, { renderer: "canvas" });
  const draw = (): void => chart.setOption(option(texts, found, points), { notMerge: true });
  draw();
  const sizes = new ResizeObserver(() => chart.resize());
  sizes.observe(canvas);
  document.addEventListener(THEME_CHANGED, draw, { signal });
  const watch = new MutationObserver(end); // another projection replaces the canvas, too
  watch.observe(root, { childList: true });
  signal.addEventListener("abort", end);
  function end(): void {
    if (canvas.isConnected && !signal.aborted) return;
    document.removeEventListener(THEME_CHANGED, draw);
    watch.disconnect();
    sizes.disconnect();
    chart.dispose();
  }
  return (clusters) => {
    if (!canvas.isConnected) return; // another projection is there
    found = clusters;
    caption.textContent = told();
    draw();
    const again = listed();
    again.open = behind.open;
    behind.replaceWith(again);
    behind = again;
  };
}

function listing(texts: string[], found: Clusters | null, points: Float32Array): HTMLElement {
  return table(
    "Lines on the map",
    ["Line", "Text", "Cluster", "x", "y"],
    texts.map((text, at) => [
      String(at + 1), clipped(text), found ? clipped(texts[found.central[found.of[at]!]!]!, 40) : "", points[at * 2]!.toFixed(3), points[at * 2 + 1]!.toFixed(3),
    ]),
    [0, 3, 4],
  );
}

function option(texts: string[], found: Clusters | null, points: Float32Array): Record<string, unknown> {
  const seen = look();
  const axis = { type: "value", scale: true, boundaryGap: ["4%", "4%"], axisLabel: { show: false }, splitLine: { lineStyle: { color: seen.line } }, axisLine: { show: false }, axisTick: { show: false } };
  const members: number[][] = Array.from({ length: found?.k ?? 1 }, () => []);
  for (let at = 0; at < texts.length; at++) members[found?.of[at] ?? 0]!.push(at);
  return {
    ...basics(seen),
    grid: { left: 4, right: 4, top: 40, bottom: 4 },
    legend: {
      type: "scroll", top: 4, left: 0, icon: "circle", itemHeight: 12, itemWidth: 12, pageIconColor: seen.soft,
      textStyle: { color: seen.soft, fontSize: 12 }, pageTextStyle: { color: seen.soft },
    },
    tooltip: {
      ...tooltip(seen),
      formatter: (point: { seriesIndex: number; dataIndex: number }) => label(texts, members[point.seriesIndex]?.[point.dataIndex] ?? 0),
    },
    xAxis: axis,
    yAxis: axis,
    series: members.map((of, cluster) => ({
      // The number keeps two clusters apart whose names begin alike.
      name: found ? `${cluster + 1} ${clipped(texts[found.central[cluster]!]!, 32)}` : "Lines",
      type: "scatter",
      symbolSize: texts.length > 500 ? 5 : 9,
      data: of.map((at) => [points[at * 2], points[at * 2 + 1]]),
    })),
  };
}

function label(texts: string[], at: number): string {
  const words = clipped(texts[at]!, 240).split(" ");
  const lines = [`${at + 1} ·`];
  for (const word of words) {
    if (lines.at(-1)!.length + word.length > WRAP) lines.push(word);
    else lines[lines.length - 1] += ` ${word}`;
  }
  return lines.join("\n");
}
