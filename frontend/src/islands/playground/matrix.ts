// The similarity matrix: a heatmap on a canvas, read by pointer and by keyboard, and the nearest pairs.
import { announce, element } from "../../lib/dom";
import { look } from "../../lib/look";
import { THEME_CHANGED } from "../../lib/theme";
import { compute } from "./compute";
import type { Matrix } from "./state";
import { choice, clipped, clustersIn, cosine, field, table, waiting, type Stage } from "./view";

const MOST_PIXELS = 1000; // of the picture, each way
const SHADES = 256;
const PAIRS = 25; // that are listed

export async function matrix(stage: Stage): Promise<void> {
  const { state, result, signal, root } = stage;
  if (result.texts.length < 2) return root.replaceChildren(element("p", {}, "One line has nothing to be compared with. Add another."));
  if (!state.matrix) state.matrix = await compute("matrix", result, signal, waiting(stage, "Comparing all pairs"));
  const order = state.order === "cluster" ? byCluster((await clustersIn(stage)).of) : null;
  signal.throwIfAborted();
  show(stage, state.matrix, order ?? Array.from(result.texts.keys()));
}

function byCluster(of: Int32Array): number[] {
  return Array.from(of.keys()).sort((a, b) => of[a]! - of[b]! || a - b);
}

function show(stage: Stage, made: Matrix, order: number[]): void {
  const { state, result, root, signal } = stage;
  const n = order.length;
  const step = Math.ceil(n / MOST_PIXELS);
  const canvas = element("canvas", {
    class: "heatmap",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "heatmap",
    "aria-label": `Cosine of ${n} by ${n} lines. Arrow keys go from pair to pair.`,
  });
  const told = element("p", { class: "pair small" }, "Point at the picture, or focus it and use the arrow keys.");
  const orders = choice([["given", "as given"], ["cluster", "by cluster"]], state.order);
  orders.addEventListener("change", () => {
    state.order = orders.value === "cluster" ? "cluster" : "given";
    void matrix(stage).catch(() => {});
  });
  const paint = (): void => draw(canvas, made.scores, order, step);
  paint();
  document.addEventListener(THEME_CHANGED, paint, { signal });
  const tell = (row: number, column: number): string => {
    const a = order[row]!;
    const b = order[column]!;
    const score = cosine(made.scores[a * n + b]!);
    told.replaceChildren(element("strong", {}, score), element("br"), both(result.texts, a, b));
    return `${score}: line ${a + 1}, ${clipped(result.texts[a]!)}; line ${b + 1}, ${clipped(result.texts[b]!)}`;
  };
  canvas.addEventListener("pointermove", (event) => {
    const at = (share: number): number => Math.max(0, Math.min(n - 1, Math.floor(share * n)));
    tell(at(event.offsetY / canvas.clientHeight), at(event.offsetX / canvas.clientWidth));
  });
  let row = 0;
  let column = 0;
  canvas.addEventListener("keydown", (event) => {
    const moved = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!moved) return;
    event.preventDefault();
    row = Math.max(0, Math.min(n - 1, row + moved[0]!));
    column = Math.max(0, Math.min(n - 1, column + moved[1]!));
    announce(tell(row, column));
  });
  root.replaceChildren(
    element("div", { class: "row end apart" }, element("h2", {}, "Similarity"), field("Order", orders)),
    element("div", { class: "heat" }, canvas, element("div", { class: "stack tight" }, told, scale())),
    ...(step > 1 ? [element("p", { class: "soft small" }, `Each pixel stands for ${step} by ${step} lines and shows the nearest pair of them.`)] : []),
    element("h3", {}, "Nearest pairs"),
    table(
      "Nearest pairs",
      ["Cosine", "Lines"],
      made.pairs.slice(0, PAIRS).map(({ a, b, score }) => [cosine(score), both(result.texts, a, b)]),
      [0],
    ),
  );
}

function both(texts: string[], a: number, b: number): HTMLElement {
  return element("span", {}, `${a + 1} · ${clipped(texts[a]!)}`, element("br"), `${b + 1} · ${clipped(texts[b]!)}`);
}

function scale(): HTMLElement {
  return element("p", { class: "soft small" }, "From 0, unlike, to 1, the same. The diagonal is each line with itself.");
}

function draw(canvas: HTMLCanvasElement, scores: Float32Array, order: number[], step: number): void {
  const n = order.length;
  const side = Math.ceil(n / step);
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  const shades = palette(look().scale);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let most = -1;
      for (let row = y * step, rows = Math.min(n, row + step); row < rows; row++) {
        const from = order[row]! * n;
        for (let column = x * step, columns = Math.min(n, column + step); column < columns; column++) {
          const score = scores[from + order[column]!]!;
          if (score > most && (row !== column || step === 1)) most = score;
        }
      }
      pixels[y * side + x] = shades[Math.max(0, Math.min(SHADES - 1, Math.floor(most * SHADES)))]!;
    }
  }
  context.putImageData(image, 0, 0);
}

/** Colours from the first to the last of some, as pixels. */
function palette(colours: string[]): Uint32Array {
  const known = colours.map((one) => (one.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number));
  return Uint32Array.from({ length: SHADES }, (_, at) => {
    const place = (at / (SHADES - 1)) * (known.length - 1);
    const low = Math.min(known.length - 2, Math.floor(place));
    const [red, green, blue] = [0, 1, 2].map((i) => Math.round(known[low]![i]! + (place - low) * (known[low + 1]![i]! - known[low]![i]!)));
    return ((255 << 24) | (blue! << 16) | (green! << 8) | red!) >>> 0;
  });
}
