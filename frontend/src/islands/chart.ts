// Charts of plain specs: see web/charts.py, which writes them, and macros/chart.html, which puts a table behind each.
import { colours } from "../lib/colours";
import { dataOf, one } from "../lib/dom";
import { basics, echarts, look, tooltip, type Look } from "../lib/echarts";
import { measured, type Unit } from "../lib/numbers";
import { THEME_CHANGED } from "../lib/theme";

interface Series {
  name: string;
  values: (number | null)[];
  points: [number, number][];
  labels: string[];
  colour: string | null; // the name of a token: "good", "series-3"
}

interface Spec {
  kind: "bars" | "lines" | "area" | "heatmap" | "scatter";
  caption: string;
  unit: Unit;
  x: string[];
  series: Series[];
  stacked: boolean;
  low: number | null; // where the value axis begins and ends, if not by the data
  high: number | null;
}

type Option = Record<string, unknown>;

/** Draw the figure's chart, and again when the theme or the size changes. */
export function mount(root: HTMLElement): void {
  const spec = dataOf<Spec>(root);
  const canvas = one(".canvas", root);
  const chart = echarts.init(canvas, null, { renderer: "canvas" });
  const draw = (): void => chart.setOption(option(spec, look()), { notMerge: true });
  draw();
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Chart: ${spec.caption}. The table below has the same numbers.`);
  const sizes = new ResizeObserver(() => chart.resize());
  sizes.observe(canvas);
  document.addEventListener(THEME_CHANGED, function redraw() {
    if (root.isConnected) return draw();
    document.removeEventListener(THEME_CHANGED, redraw);
    sizes.disconnect();
    chart.dispose();
  });
}

function option(spec: Spec, look: Look): Option {
  switch (spec.kind) {
    case "heatmap":
      return heatmap(spec, look);
    case "scatter":
      return scatter(spec, look);
    default:
      return cartesian(spec, look);
  }
}

function frame(spec: Spec, look: Look): Option {
  const many = spec.series.length > 1 && spec.kind !== "heatmap";
  return {
    ...basics(look),
    grid: { left: 4, right: 12, top: many ? 34 : 10, bottom: 4, outerBoundsMode: "same" },
    legend: many
      ? { type: "scroll", top: 0, left: 0, icon: "roundRect", itemWidth: 12, itemHeight: 12, padding: [6, 5], textStyle: { color: look.soft, fontSize: 12, lineHeight: 16 }, pageIconColor: look.soft, pageTextStyle: { color: look.soft } }
      : { show: false },
  };
}

function categories(look: Look, data: string[], boundaryGap = true): Option {
  return {
    type: "category",
    data,
    boundaryGap,
    axisLine: { lineStyle: { color: look.line } },
    axisTick: { show: false },
    axisLabel: { color: look.soft, fontSize: 11, hideOverlap: true },
  };
}

function numbers(look: Look, unit: Unit, low: number | null = null, high: number | null = null): Option {
  return {
    type: "value",
    splitNumber: 4,
    ...(unit === "percent" && high === 100 && !low ? { interval: 25 } : {}),
    axisLine: { show: false },
    ...(low === null ? {} : { min: low }),
    ...(high === null ? {} : { max: high }),
    splitLine: { lineStyle: { color: look.line } },
    axisLabel: { color: look.soft, fontSize: 11, formatter: (value: number) => measured(value, unit) },
  };
}

function cartesian(spec: Spec, look: Look): Option {
  const bars = spec.kind === "bars";
  return {
    ...frame(spec, look),
    tooltip: {
      ...tooltip(look),
      trigger: "axis",
      axisPointer: { type: bars ? "shadow" : "line", shadowStyle: { color: look.line, opacity: 0.35 } },
      order: "valueDesc",
      valueFormatter: (value: unknown) => measured(value as number | null, spec.unit),
    },
    xAxis: categories(look, spec.x, bars),
    yAxis: numbers(look, spec.unit, spec.low, spec.high),
    series: spec.series.map((one) => ({
      name: one.name,
      type: bars ? "bar" : "line",
      data: one.values.map((value) => value ?? "-"),
      ...(spec.stacked ? { stack: "all" } : {}),
      ...(one.colour ? { color: token(one.colour, look) } : {}),
      ...(bars
        ? { barMaxWidth: 28, barCategoryGap: "25%" }
        : {
            lineStyle: { width: 2 },
            showSymbol: spec.x.length < 3 || isolated(one.values),
            symbolSize: 5,
            ...(spec.kind === "area" ? { areaStyle: { opacity: spec.stacked ? 0.55 : 0.15 } } : {}),
          }),
    })),
  };
}

/** Whether a value has gaps on both sides: a line would not show it. */
function isolated(values: (number | null)[]): boolean {
  return values.some((value, at) => value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null);
}

function heatmap(spec: Spec, look: Look): Option {
  const cells = spec.series.flatMap((row, y) => row.values.map((value, x) => [x, y, value ?? "-"] as const));
  const seen = spec.series.flatMap((row) => row.values).filter((value) => value !== null);
  return {
    ...frame(spec, look),
    tooltip: {
      ...tooltip(look),
      formatter: (cell: { value: [number, number, number] }) =>
        `${spec.series[cell.value[1]]?.name} · ${spec.x[cell.value[0]]}\n${measured(Number(cell.value[2]), spec.unit)}`,
    },
    xAxis: categories(look, spec.x),
    yAxis: { ...categories(look, spec.series.map((row) => row.name)), inverse: true },
    visualMap: {
      show: false,
      min: spec.low ?? Math.min(...seen),
      max: spec.high ?? Math.max(...seen),
      inRange: { color: look.scale },
    },
    series: [{ type: "heatmap", data: cells, itemStyle: { borderWidth: 1, borderColor: look.card } }],
  };
}

function scatter(spec: Spec, look: Look): Option {
  return {
    ...frame(spec, look),
    tooltip: {
      ...tooltip(look),
      formatter: (point: { seriesIndex: number; dataIndex: number; seriesName: string }) =>
        spec.series[point.seriesIndex]?.labels[point.dataIndex] ?? point.seriesName,
    },
    xAxis: { ...numbers(look, spec.unit), scale: true },
    yAxis: { ...numbers(look, spec.unit), scale: true },
    series: spec.series.map((one) => ({
      name: one.name,
      type: "scatter",
      symbolSize: 8,
      data: one.points,
      ...(one.colour ? { color: token(one.colour, look) } : {}),
    })),
  };
}

function token(name: string, look: Look): string {
  const number = /^series-(\d)$/.exec(name)?.[1];
  return (number && look.series[Number(number) - 1]) || colours(name)[0] || look.ink;
}
