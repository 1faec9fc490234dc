// Numbers for people, as web/formats.py writes them.
export type Unit = "tokens" | "ms" | "percent" | "usd" | "count";

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const PLAIN = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** A value with its unit; percent is 0 to 100, usd is USD. */
export function measured(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  switch (unit) {
    case "ms":
      return value >= 10_000 ? `${PLAIN.format(value / 1000)} s` : `${PLAIN.format(value)} ms`;
    case "percent":
      return `${value.toFixed(1).replace(/\.0$/, "")}%`;
    case "usd":
      return value === 0 ? "$0" : value >= 1 ? `$${value.toFixed(2)}` : `$${Number(value.toPrecision(3))}`;
    default:
      return Math.abs(value) < 10_000 ? PLAIN.format(value) : COMPACT.format(value);
  }
}
