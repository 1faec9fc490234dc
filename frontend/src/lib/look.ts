// The colours of charts and pictures, without ECharts.
import { colours } from "./colours";

/** The colours of charts in the theme that is shown. */
export interface Look {
  ink: string;
  soft: string;
  line: string;
  card: string;
  series: string[];
  scale: string[];
}

/** As the page looks now. */
export function look(): Look {
  const numbers = [1, 2, 3, 4, 5, 6, 7, 8];
  const [ink = "", soft = "", line = "", card = "", ...rest] = colours(
    "ink",
    "soft",
    "line",
    "card",
    ...numbers.map((number) => `series-${number}`),
    "scale-low",
    "scale-mid",
    "scale-high",
  );
  return { ink, soft, line, card, series: rest.slice(0, numbers.length), scale: rest.slice(numbers.length) };
}
