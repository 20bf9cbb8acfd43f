// The table of runs, the metrics of a run, and the comparison of the runs of a flow. See table.js for what the caller
// owns.

import { bestOutput, brief, curvesPanel, lessIsBetter, mark, metricNames, metricPoints } from "./curves.js";
import { attributeList, count, el, fact, shorten, time } from "./dom.js";
import { leaves, pipelinePanel } from "./flows.js";
import { dataTable } from "./table.js";

export const DEFAULT_RUN_SORT = "-created";
/** The runs of a flow that are compared at once: more curves cannot be distinguished. */
const MOST_COMPARED = 16;

/** A time span as a person reads it: "2 h 05 min". */
export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const duration = (run) => (run.started && run.ended && run.ended >= run.started
  ? (run.ended - run.started) / 1000 : null);

const haystack = (run) => [
  run.name,
  run.id,
  run.flow ?? "",
  run.project ?? "",
  `is:${run.state}`,
  ...Object.entries(run.attributes).map(([key, value]) => `${key}=${value}`),
  run.change ? `is:${run.change}` : "",
].join("\n").toLowerCase();

/** The metric that most runs have, the first of equals. */
export function usualMetric(runs) {
  const found = new Map();
  for (const run of runs) for (const name of metricNames(run.outputs)) found.set(name, (found.get(name) ?? 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]?.[0] ?? "";
}

const bestCell = (run, metric) => {
  const best = metric ? bestOutput(run.outputs, metric) : null;
  return best === null ? [""] : [el("span", { title: `${metric} of ${best.id}` }, brief(best.metrics[metric]))];
};

const stateTag = (run) => el("span", { class: `state ${run.state}` }, run.state);

/**
 * Draw the table of runs into `root`.
 *
 * @param runs `{id, name, state, reason, flow, digest, project, attributes, generation, created, updated, started, ended,
 *   outputs, spec, change}` of each run: `name` is that of its flow, `flow` the flow's id or null, `spec` the copy of
 *   the flow, and `outputs` its checkpoints, `{id, epoch, kind, metrics, nonFinite}`, or null if they were not read
 * @param state `{query, sort, open, metric}`
 * @param extra returns further nodes for the top of an open row
 * @returns what `dataTable` returns
 */
export function runTable(root, { runs, state, extra = () => [], onChange }) {
  const rows = runs.map((run) => {
    const best = state.metric ? bestOutput(run.outputs, state.metric) : null;
    const sign = lessIsBetter(state.metric) ? -1 : 1;
    return {
      ...run,
      haystack: haystack(run),
      best: best === null ? -Infinity : sign * best.metrics[state.metric],
      seconds: duration(run) ?? -1,
      checkpoints: run.outputs?.length ?? -1,
    };
  });
  const columns = [
    { key: "name", label: "Run of flow", textual: true, cell: (run) => [el("bdi", {}, run.name || "(no name)")] },
    { key: "state", label: "State", textual: true, cell: (run) => [stateTag(run)] },
    { label: "Attributes", kind: "wide attributes", cell: (run) => attributeList(run.attributes) },
    { key: "checkpoints", label: "Checkpoints", kind: "number medium",
      cell: (run) => [run.outputs === null ? "" : String(run.outputs.length)] },
    { key: "best", label: "Best", note: shorten(state.metric, 14), kind: "number", cell: (run) => bestCell(run, state.metric) },
    { key: "seconds", label: "Duration", kind: "number medium",
      cell: (run) => [run.seconds < 0 ? "" : span(run.seconds)] },
    { key: "created", label: "Created", note: "UTC", kind: "number medium", cell: (run) => [time(run.created)] },
  ];
  return dataTable(root, {
    noun: "run", hint: "flow, id, project, attributes", columns, rows, state, onChange,
    details: (run) => [...extra(run), ...runDetails(run, state.metric)],
  });
}

/** The curve of a metric, the checkpoints, the pipeline, the facts and the spec of a run. */
export function runDetails(run, metric) {
  const attributes = attributeList(run.attributes);
  return [
    ...metricPanel(run, metric),
    pipelinePanel(run.spec.blocks),
    el("div", { class: "columns" },
      el("dl", { class: "facts" },
        fact("Run id", el("code", {}, run.id)),
        fact("State", stateTag(run), ...(run.reason ? [" ", el("bdi", {}, run.reason)] : [])),
        fact("Flow", el("bdi", {}, run.name), ...(run.flow ? [" ", el("code", { class: "id" }, run.flow)] : [])),
        fact("Digest", el("code", {}, run.digest.slice(0, 12), "…")),
        fact("Training project", el("bdi", {}, run.project || "none")),
        fact("Attributes", ...(attributes.length ? attributes : ["none"])),
        fact("Created", time(run.created, 19), " UTC"),
        fact("Started", ...(run.started ? [time(run.started, 19), " UTC"] : ["unknown"])),
        fact("Ended", ...(run.ended ? [time(run.ended, 19), " UTC"] : ["not yet, or unknown"]))),
      el("pre", { tabindex: 0, role: "region", "aria-label": "Spec of the flow as JSON" },
        JSON.stringify(run.spec, null, 2))),
  ];
}

function metricPanel(run, metric) {
  if (run.outputs === null) return [el("p", { class: "quiet" }, "The export has no checkpoints.")];
  const names = metricNames(run.outputs);
  if (!names.length) return [el("p", { class: "quiet" }, `${count(run.outputs.length, "checkpoint")} without metrics.`)];
  const chart = el("div");
  const draw = (name) => chart.replaceChildren(curvesPanel([{ name: run.id, points: metricPoints(run.outputs, name) }], name));
  const first = names.includes(metric) ? metric : names[0];
  draw(first);
  return [el("div", { class: "tools" }, choice("Metric", names, first, draw)), chart];
}

/** A labeled list to choose from. */
function choice(label, options, chosen, choose) {
  const list = el("select", {}, ...options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, shorten(option, 40)];
    return el("option", value === chosen ? { value, selected: "" } : { value }, text);
  }));
  list.addEventListener("change", () => choose(list.value));
  return el("label", { class: "choice" }, el("span", {}, label), list);
}

const flowKey = (run) => (run.flow === null ? `name ${run.name}` : `id ${run.flow}`);

/**
 * Draw the comparison of the runs of a flow into `root`, if a flow has several runs.
 *
 * @returns whether there is something to compare
 */
export function comparison(root, { runs, metric }) {
  const flows = new Map();
  for (const run of runs) flows.set(flowKey(run), [...(flows.get(flowKey(run)) ?? []), run]);
  const several = [...flows].filter(([, own]) => own.length > 1);
  if (!several.length) return false;
  several.sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
  const names = [...new Set(runs.flatMap((run) => metricNames(run.outputs)))].sort();
  const place = el("div");
  const chosen = { flow: several[0][0], metric };
  const draw = () => place.replaceChildren(...compared(flows.get(chosen.flow), chosen.metric));
  const labels = several.map(([key, own]) => [key, `${own[0].name || "(no name)"} (${own.length} runs)`]);
  root.append(
    el("div", { class: "tools" },
      choice("Flow", labels, chosen.flow, (key) => { chosen.flow = key; draw(); }),
      ...(names.length ? [choice("Metric", names, metric, (name) => { chosen.metric = name; draw(); })] : [])),
    place);
  draw();
  return true;
}

function compared(all, metric) {
  const runs = [...all].sort((a, b) => b.created - a.created).slice(0, MOST_COMPARED);
  const specs = runs.map((run) => new Map(leaves(run.spec)));
  const paths = [...new Set(specs.flatMap((spec) => [...spec.keys()]))]
    .filter((path) => new Set(specs.map((spec) => spec.get(path))).size > 1);
  const differences = (index) => paths.filter((path) => specs[index].has(path)).map((path) =>
    el("span", { class: "attribute" }, el("b", {}, path), "=", el("bdi", {}, specs[index].get(path))));
  const rows = runs.map((run, index) => el("tr", {},
    el("td", {}, mark(index), el("a", { href: `#expand=${encodeURIComponent(run.id)}` }, el("code", {}, run.id))),
    el("td", {}, stateTag(run)),
    el("td", { class: "number" }, ...bestCell(run, metric)),
    el("td", { class: "number medium" }, duration(run) === null ? "" : span(duration(run))),
    el("td", { class: "wide" }, ...differences(index)),
    el("td", { class: "medium" }, el("code", { class: "id", title: run.digest }, run.digest.slice(0, 12)))));
  const series = runs.map((run) => ({ name: run.id, points: metricPoints(run.outputs, metric) }));
  return [
    ...(metric ? [curvesPanel(series, metric)] : []),
    el("table", { class: "compared" },
      el("thead", {}, el("tr", {}, ...[
        ["Run", ""], ["State", ""], ["Best", "number"], ["Duration", "number medium"], ["Differs in", "wide"],
        ["Digest", "medium"],
      ].map(([label, kind]) => el("th", { scope: "col", class: kind }, label)))),
      el("tbody", {}, ...rows)),
    ...(all.length > runs.length
      ? [el("p", { class: "quiet" }, `The newest ${runs.length} of ${all.length} runs.`)] : []),
  ];
}
