// The view "Gates and runs": what waits for which flow and since when, from Airflow, and the training runs, from Vi.

import { clamped, count, el, fact, number, time } from "./dom.js";
import { dataTable } from "./table.js";
import { pageUrl, taskInstances, taskUrl, vi } from "./airflow.js";
import { metricCurves } from "./metrics.js";
import { chips, nothing, section } from "./section.js";

/** The classes of the tasks that wait. */
const GATES = ["FlowExistsSensor", "FlowSpecSensor", "RunStateSensor", "StartRunOperator"];
const WAITING = { deferred: "on the triggerer", up_for_reschedule: "between two polls", running: "in a worker" };
const MOST_GATES = 1000;
const DEFAULT_SORT = "-created_at";
const STATES = ["queued", "running", "succeeded", "failed", "killed"];

export function waitingView(root, { connection, parameters, write }) {
  const gates = section(root, {
    title: "What waits",
    note: "Tasks of Airflow that wait for a flow or a run.",
    busy: "the tasks that wait",
    refused: "You may not read task instances in Airflow.",
    load: ({ signal }) => taskInstances(GATES, { state: Object.keys(WAITING) }, MOST_GATES, signal),
    draw: drawGates,
  });
  const runs = runsSection(root, { connection, parameters, write });
  return {
    destroy() {
      gates.destroy();
      runs.destroy();
    },
  };
}

// --- what waits -------------------------------------------------------------------------------------------------------

function drawGates({ items, complete }, place) {
  if (!complete) {
    place.append(el("p", { class: "caveat" }, `Only the ${number(MOST_GATES)} latest waiting tasks were searched.`));
  }
  if (!items.length) {
    place.append(nothing("No task waits for a flow or a run."));
    return;
  }
  // Airflow forgets the first poll of a rescheduled task: it has waited at most since its DAG run was due. While it
  // polls, its start is that of the poll.
  const since = (each) => Date.parse(each.trigger?.created_date
    ?? (each.state === "up_for_reschedule" ? each.run_after : each.start_date) ?? each.run_after);
  const sorted = [...items].sort((a, b) => since(a) - since(b));
  place.append(el("table", { class: "gates" },
    el("thead", {}, el("tr", {}, ...[["Task"], ["Waits for"], ["How", "wide"], ["Since (UTC)"]].map(([text, kind = ""]) =>
      el("th", { scope: "col", class: kind }, text)))),
    el("tbody", {}, ...sorted.map((each) => el("tr", {},
      el("td", {}, taskLink(each), el("span", { class: "quiet block" }, each.dag_run_id)),
      el("td", {}, ...awaited(each)),
      el("td", { class: "wide" }, WAITING[each.state] ?? each.state),
      el("td", {}, time(since(each)), el("span", { class: "quiet block" }, waited(each, Date.now() - since(each)))))))));
}

const waited = ({ state, operator }, ms) => {
  if (state === "up_for_reschedule") return `at most ${duration(ms)}`;
  return state === "running" && operator.endsWith("Sensor") ? `${duration(ms)}, longer if it was rescheduled` : duration(ms);
};

const taskLink = (each) => el("a", { href: taskUrl(each) },
  `${each.dag_id} › ${each.task_id}${each.map_index >= 0 ? ` [${each.map_index}]` : ""}`);

/** What a task waits for, from the fields that Airflow has rendered. */
function awaited({ operator, rendered_fields: fields = {} }) {
  const given = (name) => fields[name] !== null && fields[name] !== undefined && fields[name] !== "None";
  const code = (name) => el("code", {}, String(fields[name]));
  const what = [];
  if (operator === "StartRunOperator") what.push("the training run of flow ");
  else if (operator === "RunStateSensor") what.push("run ");
  else what.push("flow ");
  if (given("run_id")) what.push(code("run_id"));
  else if (given("flow_id")) what.push(code("flow_id"));
  else if (given("flow_name")) what.push(clamped(String(fields.flow_name)));
  else what.push(el("span", { class: "quiet" }, "(known when the task renders)"));
  const conditions = ["training_project", "expected_digest", "required_blocks", "min_generation", "attributes",
    "unchanged_for", "absent", "states"];
  const list = conditions.filter((name) => given(name) && String(fields[name]) !== "False").map((name) =>
    el("span", { class: "attribute" }, el("b", {}, name), "=", plain(fields[name])));
  return [...what, el("span", { class: "block" }, ...list,
    el("span", { class: "attribute" }, el("b", {}, "connection"), "=", String(fields.vi_conn_id ?? "")))];
}

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** A span of time in its two largest units. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const [next, smaller] = parts[first + 1] ?? [];
  const rest = next ? Math.floor((seconds % size) / next) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
}

// --- runs -------------------------------------------------------------------------------------------------------------

const COLUMNS = [
  { key: "flow_name", label: "Run", textual: true, cell: (run) => [el("bdi", {}, run.flow_name || "(no name)")] },
  { key: "state", label: "State", textual: true, cell: (run) => [el("span", { class: `pill ${run.state}` }, run.state)] },
  { key: "task", label: "Task", textual: true, kind: "wide", cell: (run) => [taskOf(run)] },
  { key: "queued", label: "Queue", kind: "number medium", cell: (run) => [seconds(run.queued)] },
  { key: "ran", label: "Run time", kind: "number medium", cell: (run) => [seconds(run.ran)] },
  { key: "created_at", label: "Created", note: "UTC", kind: "number", cell: (run) => [time(run.created_at)] },
];

const seconds = (value) => (value === null ? "–" : duration(value * 1000));

/** How long a run has been in the queue, or has run, by now. */
function times(run, now) {
  const waits = run.state === "queued" ? (now - run.created_at) / 1000 : null;
  const runs = run.state === "running" && run.started_at !== null ? (now - run.started_at) / 1000 : null;
  return { queued: run.queued_seconds ?? waits, ran: run.running_seconds ?? runs };
}

function taskOf({ task }) {
  // dag/run/task[index]: a DAG run's id may have slashes itself.
  const [, dag, run, id, index] = /^([^/]+)\/(.+)\/([^/[]+)(?:\[(\d+)\])?$/.exec(task ?? "") ?? [];
  if (!dag) return el("span", { class: "quiet" }, task ?? "not from Airflow");
  const instance = { dag_id: dag, dag_run_id: run, task_id: id, map_index: index === undefined ? -1 : Number(index) };
  return taskLink(instance);
}

function runsSection(root, { connection, parameters, write }) {
  const api = (parts, query, signal) => vi(["connections", connection, ...parts], query, signal);
  const state = { query: parameters.get("q") ?? "", sort: DEFAULT_SORT, open: new Set(parameters.getAll("open")) };
  let wanted = parameters.get("state") ?? "";
  let table;
  let isFirst = true;
  const remember = () => write({
    q: state.query, sort: state.sort === DEFAULT_SORT ? "" : state.sort, open: [...state.open], state: wanted,
  });

  function draw({ runs, complete, organization_id: organization }, place) {
    table?.destroy();
    const shows = isFirst;
    isFirst = false;
    if (!runs.length) {
      place.append(nothing(`The organization ${organization} has no training runs.`));
      return;
    }
    const now = Date.now();
    const rows = runs.map((run) => ({
      ...run,
      ...times(run, now),
      id: run.run_id,
      change: run.overdue ? "orphan" : "",
      haystack: [run.flow_name, run.run_id, run.task ?? "", run.state, run.overdue ? "is:orphan" : ""]
        .join("\n").toLowerCase(),
    }));
    const shown = () => rows.filter((run) => !wanted || (wanted === "orphan" ? run.overdue : run.state === wanted));
    const explorer = el("div", { class: "explorer" });
    place.append(
      stateFilter(rows, () => wanted, (value) => {
        wanted = value;
        table.replaceRows(shown());
        remember();
      }),
      complete ? "" : el("p", { class: "caveat" }, `Only the newest ${count(runs.length, "run")} are shown.`), explorer);
    table = dataTable(explorer, {
      noun: "run", hint: "flow, run id, task, state", columns: COLUMNS, rows: shown(), state,
      details: (run) => runDetails(run, ({ signal, refresh }) =>
        api(["runs", run.run_id, "outputs"], refresh ? { refresh } : {}, signal)),
      onChange: remember,
    });
    const sort = parameters.get("sort") ?? "";
    if (table.isSortable(sort)) state.sort = sort;
    table.render();
    if (shows) table.showOpened();
  }

  const part = section(root, {
    title: "Training runs",
    busy: "runs",
    patience: true,
    refused: `Runs are shown to those who may read the connection ${connection} in Airflow. You may not.`,
    load: ({ signal, refresh }) => api(["runs"], refresh ? { refresh } : {}, signal),
    draw,
  });
  return {
    destroy() {
      table?.destroy();
      part.destroy();
    },
  };
}

function stateFilter(rows, current, choose) {
  const counts = Object.fromEntries(STATES.map((state) => [state, rows.filter((run) => run.state === state).length]));
  const options = [["", "all", rows.length], ...STATES.map((state) => [state, state, counts[state]]),
    ["orphan", "past their lease", rows.filter((run) => run.overdue).length]];
  return chips("State", options.map(([value, label, runs]) =>
    [value, label, " ", el("span", { class: "count" }, number(runs))]), current, choose).element;
}

function runDetails(run, readOutputs) {
  const place = el("div", { class: "checkpoints" });
  section(place, {
    title: "Checkpoints",
    busy: "checkpoints",
    patience: true,
    load: readOutputs,
    draw: ({ outputs }, inner) => inner.append(...(outputs.length
      ? metricCurves(outputs)
      : [nothing("This run has no checkpoints.")])),
  });
  const or = (value, otherwise) => (value === null || value === undefined || value === "" ? otherwise : value);
  return [
    el("p", { class: "actions" }, el("a", { class: "button", href: run.url, target: "_blank", rel: "noopener" }, "Open in Vi")),
    run.overdue
      ? el("p", { class: "caveat" }, "This run is past its lease: the task that started it is gone, or overdue. ",
        "KillOverdueRunsOperator kills such runs.")
      : "",
    el("dl", { class: "facts" },
      fact("Run id", el("code", {}, run.run_id)),
      fact("Flow", el("code", {}, or(run.flow_id, "unknown"))),
      fact("Training project", el("bdi", {}, or(run.training_project, "none"))),
      fact("Task", taskOf(run)),
      fact("Reason", or(run.reason, "none reported")),
      fact("Lease until", run.deadline === null ? "no limit" : time(run.deadline, 19))),
    place,
  ];
}
