// The checkpoints of a run: the curve of each metric, drawn by the code of the audit report, and a table of all values.

import { brief, curvesPanel, metricNames, metricPoints } from "./curves.js";
import { el, number, time } from "./dom.js";

const MOST_CURVES = 6;
const MOST_COLUMNS = 8;

/** Nodes for the checkpoints of a run, as the API lists them. */
export function metricCurves(outputs) {
  const names = metricNames(outputs);
  const left = names.length - MOST_CURVES;
  const latest = [...outputs].sort((a, b) => (b.epoch ?? -1) - (a.epoch ?? -1) || b.created - a.created);
  return [
    el("div", { class: "plots" }, ...names.slice(0, MOST_CURVES).map((name) => el("figure", {},
      el("figcaption", {}, name), curvesPanel([{ name, points: metricPoints(outputs, name) }], name)))),
    left > 0 ? el("p", { class: "quiet" }, `${number(left)} more metrics have no curve here.`) : "",
    checkpoints(latest, names.slice(0, MOST_COLUMNS)),
  ];
}

const checkpoints = (outputs, names) => el("div", { class: "scroll", role: "region", "aria-label": "Metrics", tabindex: 0 },
  el("table", {},
    el("thead", {}, el("tr", {}, ...["Epoch", ...names, "Created (UTC)"].map((text) =>
      el("th", { scope: "col", class: names.includes(text) ? "number" : "" }, text)))),
    el("tbody", {}, ...outputs.map((output) => el("tr", {},
      el("td", { title: output.run_output_id }, String(output.epoch ?? "–")),
      ...names.map((name) => el("td", { class: "number" }, valueOf(output.metrics[name]))),
      el("td", {}, time(output.created)))))));

const valueOf = (value) => (Number.isFinite(value) ? brief(value) : "–");
