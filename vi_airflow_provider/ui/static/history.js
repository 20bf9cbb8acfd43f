// The view "Audit and archives": the last exports and what changed, the last cleanups and how to undo them. All of it
// comes from Airflow, with the rights of the reader.

import { clamped, count, el, fact, number, time } from "./dom.js";
import { taskInstances, taskUrl, xcom } from "./airflow.js";
import { nothing, section } from "./section.js";

const LATEST = 20;
const SEARCHED = 100;
const EXPORTS = ["ExportFlowsOperator", "ExportRunsOperator"];
const CLEANUPS = ["PruneFlowsOperator", "PruneRunsOperator"];

const nounOf = ({ operator }) => (operator.includes("Runs") ? "run" : "flow");

export function historyView(root) {
  const parts = [
    section(root, {
      title: "Last exports",
      note: "Of flows and of runs: what was written, and what had changed since the export before.",
      busy: "the last exports",
      refused: "You may not read task instances or XComs in Airflow.",
      load: ({ signal }) => latest(EXPORTS, signal),
      draw: list("export", exported),
    }),
    section(root, {
      title: "Last cleanups",
      note: "Of flows and of runs: what was deleted, and where it is archived.",
      busy: "the last cleanups",
      refused: "You may not read task instances or XComs in Airflow.",
      load: ({ signal }) => latest(CLEANUPS, signal),
      draw: list("cleanup", cleaned),
    }),
  ];
  return { destroy: () => parts.forEach((part) => part.destroy()) };
}

/** The latest instances of operators, each with its result; the report of a failed cleanup has a key of its own. */
async function latest(operators, signal) {
  const { items, complete } = await taskInstances(operators, {}, SEARCHED, signal);
  const found = await Promise.all(items.slice(0, LATEST).map(async (instance) => {
    const key = { success: "return_value", failed: "report" }[instance.state];
    const result = key ? await xcom(instance, key, signal) : null;
    return { instance, result: result && typeof result === "object" ? result : null };
  }));
  return { found, complete };
}

const list = (what, draw) => ({ found, complete }, place) => {
  if (!found.length) {
    place.append(nothing(complete
      ? `No ${what} has run yet.`
      : `No ${what} is among the latest ${SEARCHED} tasks of Airflow.`)); // before 3.2, Airflow cannot search for them
    return;
  }
  place.append(el("ul", { class: "cards wide-cards" }, ...found.map(({ instance, result }) => el("li", { class: "card" },
    el("p", { class: "title" },
      el("a", { href: taskUrl(instance) },
        `${instance.dag_id} › ${instance.task_id}${instance.map_index >= 0 ? ` [${instance.map_index}]` : ""}`), " ",
      el("span", { class: `pill ${instance.state}` }, instance.state ?? "none"), " ",
      el("span", { class: "quiet" }, instance.start_date ? time(Date.parse(instance.start_date)) : "not started",
        `, connection ${connectionOf(instance) ?? "unknown"}`)),
    ...(result ? draw(result, instance) : [nothing("It has left no result.")])))));
};

const connectionOf = ({ rendered_fields: fields }) => fields?.vi_conn_id;

const tally = (label, value, kind = "") => el("span", { class: `tally ${kind}` },
  el("b", {}, value === null || value === undefined ? "–" : number(value)), ` ${label}`);

function exported(result, instance) {
  return [
    el("p", { class: "tallies" }, tally(`${nounOf(instance)}s`, result.count),
      ...["added", "removed", "changed"].map((kind) => tally(kind, result[kind], result[kind] ? kind : ""))),
    el("dl", { class: "facts" },
      fact("Export", copyable(result.uri)),
      fact("Manifest", copyable(result.manifest_uri)),
      ...(result.report_uri ? [fact("Report", copyable(result.report_uri))] : [])),
  ];
}

function cleaned(result, instance) {
  const noun = nounOf(instance);
  const archives = [result.archive, ...(result.earlier_archives ?? [])].filter(Boolean);
  return [
    el("p", { class: "tallies" },
      result.dry_run ? el("span", { class: "pill" }, "dry run") : "",
      tally(`${noun}s selected`, result.selected), tally("deleted", result.deleted, result.deleted ? "removed" : ""),
      tally("spared", result.spared), result.failed ? tally("failed", result.failed, "removed") : ""),
    result.guard ? el("p", { class: "caveat" }, `Guard: ${result.guard}`) : "",
    ...archives.map((uri) => (noun === "run" ? records(uri) : archive(uri, connectionOf(instance)))),
    ...outcomes(result, noun),
  ];
}

const archive = (uri, connection) => el("details", {}, el("summary", {}, "Archive, and how to restore it"),
  el("dl", { class: "facts" }, fact("Archive", copyable(uri))),
  el("p", { class: "quiet" }, "Restore in a DAG; flows that exist are left alone:"),
  copyable(`RestoreFlowsOperator(task_id="restore", archive=${JSON.stringify(uri)}, if_exists="skip"`
    + `${connection && connection !== "vi_default" ? `, vi_conn_id=${JSON.stringify(connection)}` : ""})`),
  el("p", { class: "quiet" }, "Or on a command line:"),
  copyable(`vi-airflow archive restore ${quoted(uri)} --if-exists skip --conn-id ${quoted(connection ?? "vi_default")}`));

const records = (uri) => el("details", {}, el("summary", {}, "Archive of their records"),
  el("dl", { class: "facts" }, fact("Archive", copyable(uri))),
  el("p", { class: "quiet" }, "It holds summary, conditions, metrics and log of each run. A run cannot be restored."));

/** A word of a shell. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function outcomes({ outcomes: listed = [], outcomes_omitted: omitted = 0, dry_run: dryRun }, noun) {
  if (!listed.length) return [];
  const items = listed.map((each) => el("li", {}, clamped(each.name || "(no name)"), " ",
    el("code", { class: "id" }, each[`${noun}_id`]), " ",
    el("span", { class: "quiet" }, `${each.outcome}: ${each.reason}`)));
  const title = `${count(listed.length + omitted, noun)} ${dryRun ? "that it would delete" : "with their outcome"}`;
  return [el("details", {}, el("summary", {}, title), el("ul", { class: "outcomes" }, ...items))];
}

function copyable(text) {
  if (!text) return el("span", { class: "quiet" }, "none");
  const code = el("code", {}, text);
  const button = el("button", { type: "button", class: "button small copy", "aria-label": `Copy ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = await copied(text, code) ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 3000);
  });
  return el("span", { class: "copyable" }, code, " ", button);
}

/** Copy a text, or select it: browsers lend the clipboard to pages of HTTPS and of this machine only. */
async function copied(text, code) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
