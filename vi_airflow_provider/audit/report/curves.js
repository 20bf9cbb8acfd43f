// A metric over the epochs of runs, as curves. What the caller owns is as in table.js.

import { el, number, svg } from "./dom.js";

const MARGIN = { top: 12, right: 14, bottom: 30, left: 56 };
const HEIGHT = 240;
const TICKS = 4;
/** Further curves have the same colors again, dashed. */
const COLORS = 8;

/**
 * The numbers of a metric over the epochs, as points. A checkpoint without an epoch, or whose value is not a finite
 * number, has none.
 *
 * @param outputs `{epoch, metrics}` of each checkpoint
 */
export function metricPoints(outputs, metric) {
  return (outputs ?? [])
    .filter(({ epoch, metrics }) => Number.isFinite(epoch) && Number.isFinite(metrics[metric]))
    .map(({ epoch, metrics }) => [epoch, metrics[metric]])
    .sort((a, b) => a[0] - b[0]);
}

/** The names of the metrics that are numbers, in the order of the alphabet. */
export function metricNames(outputs) {
  const names = new Set();
  for (const { metrics } of outputs ?? []) {
    for (const [name, value] of Object.entries(metrics)) if (Number.isFinite(value)) names.add(name);
  }
  return [...names].sort();
}

/** A guess: of an error or a loss, less is better. */
export const lessIsBetter = (metric) => /loss|error|perplexity|(^|[._/-])(mae|mse|rmse|wer|cer)($|[._/-])/i.test(metric);

/** The checkpoint with the best value of a metric, the latest of equals; `null` if there is none. */
export function bestOutput(outputs, metric) {
  const sign = lessIsBetter(metric) ? -1 : 1;
  let best = null;
  for (const output of outputs ?? []) {
    const value = output.metrics[metric];
    if (Number.isFinite(value) && (best === null || sign * value >= sign * best.metrics[metric])) best = output;
  }
  return best;
}

/** A number as a person reads it: at most four significant digits, so that it fits beside an axis. */
export const brief = (value) => (value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6)
  ? number(Number(value.toPrecision(4)))
  : value.toExponential(2));

const color = (index) => `series-${index % COLORS}${index >= COLORS ? " again" : ""}`;

/** The mark of a curve in a table or a legend. */
export const mark = (index) => el("span", { class: `mark ${color(index)}`, "aria-hidden": "true" });

/**
 * Curves that are drawn again whenever their width changes.
 *
 * @param series `{name, points}` of each curve
 */
export function curvesPanel(series, metric) {
  const panel = el("div", { class: "curves" });
  if (!series.some(({ points }) => points.length)) {
    panel.append(el("p", { class: "quiet" }, "No checkpoint has an epoch and a number for this metric."));
    return panel;
  }
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(panel.clientWidth);
    if (width <= 0 || width === drawn) return;
    drawn = width;
    panel.replaceChildren(curves(series, metric, width));
  }).observe(panel);
  return panel;
}

/** The curves as one SVG of a width. */
export function curves(series, metric, width) {
  const points = series.flatMap((each) => each.points);
  const [left, right] = range(points.map(([epoch]) => epoch));
  const [low, high] = range(points.map(([, value]) => value));
  const plot = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const x = (epoch) => MARGIN.left + ((epoch - left) / (right - left)) * plot.width;
  const y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * plot.height;
  const text = series.map(({ name, points: own }) => `${name}: ${own.map(([epoch, value]) =>
    `${brief(value)} at epoch ${epoch}`).join(", ") || "no value"}`).join("; ");
  const drawing = svg("svg", { class: "curve", role: "img", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` },
    svg("title", {}, `${metric} over epochs`), svg("desc", {}, text));
  for (let tick = 0; tick <= TICKS; tick += 1) {
    const value = low + ((high - low) * tick) / TICKS;
    drawing.append(
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "value-label", x: MARGIN.left - 8, y: y(value) + 4 }, brief(value)));
  }
  const epochs = [...new Set(points.map(([epoch]) => epoch))].sort((a, b) => a - b);
  const every = Math.ceil(epochs.length / Math.max(2, Math.floor(plot.width / 60)));
  for (const epoch of epochs.filter((_, index) => index % every === 0)) {
    drawing.append(svg("text", { class: "epoch-label", x: x(epoch), y: HEIGHT - 10 }, String(epoch)));
  }
  series.forEach(({ name, points: own }, index) => {
    const place = own.map(([epoch, value]) => `${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`);
    if (place.length > 1) drawing.append(svg("path", { class: `line ${color(index)}`, d: `M${place.join("L")}` }));
    for (const [epoch, value] of own) {
      drawing.append(svg("circle", { class: `point ${color(index)}`, cx: x(epoch).toFixed(1), cy: y(value).toFixed(1), r: 3 },
        svg("title", {}, `${name}, epoch ${epoch}: ${value}`)));
    }
  });
  return drawing;
}

/** Least and greatest of numbers; a single number gets some room around it. */
function range(values) {
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of values) [least, greatest] = [Math.min(least, value), Math.max(greatest, value)];
  if (least < greatest) return [least, greatest];
  const room = Math.abs(least) / 10 || 1;
  return [least - room, greatest + room];
}
