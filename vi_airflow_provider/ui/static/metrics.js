// The checkpoints of a run: a table of their metrics, the latest first.

import { el, time } from "./dom.js";

const MOST_COLUMNS = 8;

/** Nodes for the checkpoints of a run, as the API lists them. */
export function metricCurves(outputs) {
  const ordered = [...outputs].sort((a, b) => (a.epoch ?? -1) - (b.epoch ?? -1) || a.created - b.created);
  const names = [...new Set(ordered.flatMap((output) => Object.keys(output.metrics)))].sort();
  return [checkpoints([...ordered].reverse(), names.slice(0, MOST_COLUMNS))];
}

const checkpoints = (outputs, names) => el("div", { class: "scroll", role: "region", "aria-label": "Metrics", tabindex: 0 },
  el("table", {},
    el("thead", {}, el("tr", {}, ...["Epoch", ...names, "Created (UTC)"].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...outputs.map((output) => el("tr", {},
      el("td", { title: output.run_output_id }, String(output.epoch ?? "–")),
      ...names.map((name) => el("td", { class: "number" }, rounded(output.metrics[name]))),
      el("td", {}, time(output.created)))))));

const rounded = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : "–");
