// ECharts by its parts. Islands that draw take it from here, so that there is one chunk of it.
import { BarChart, HeatmapChart, LineChart, ScatterChart } from "echarts/charts";
import {
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  TooltipComponent,
  VisualMapContinuousComponent,
} from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import type { Look } from "./look";

echarts.use([
  BarChart,
  HeatmapChart,
  LineChart,
  ScatterChart,
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  TooltipComponent,
  VisualMapContinuousComponent,
  CanvasRenderer,
]);

/** What all our charts share. The tooltip is drawn in the canvas: the content security policy allows no inline style. */
export function basics(look: Look): echarts.EChartsCoreOption {
  return {
    animation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    animationDuration: 250,
    color: look.series,
    backgroundColor: "transparent",
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: look.ink },
    tooltip: tooltip(look),
  };
}

/** A tooltip in the page's colours. */
export function tooltip(look: Look): Record<string, unknown> {
  return {
    renderMode: "richText",
    confine: true,
    backgroundColor: look.card,
    borderColor: look.line,
    textStyle: { color: look.ink, fontSize: 12 },
  };
}

export { look, type Look } from "./look";
export { echarts };
