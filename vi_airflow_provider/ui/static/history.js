// The view "Audit and archives": the last exports and what changed, the last cleanups and how to undo them. All of it
// comes from Airflow, with the rights of the reader.

import { el, fact, number, time } from "./dom.js";
import { taskInstances, taskUrl, xcom } from "./airflow.js";
import { nothing, section } from "./section.js";

const LATEST = 20;

export function historyView(root) {
  const parts = [
    section(root, {
      title: "Last exports",
      note: "What ExportFlowsOperator wrote, and what had changed since the export before.",
      busy: "the last exports",
      refused: "You may not read task instances or XComs in Airflow.",
      load: ({ signal }) => latest("ExportFlowsOperator", signal),
      draw: list("No export has run yet.", exported),
    }),
    section(root, {
      title: "Last cleanups",
      note: "What PruneFlowsOperator deleted, and where it is archived.",
      busy: "the last cleanups",
      refused: "You may not read task instances or XComs in Airflow.",
      load: ({ signal }) => latest("PruneFlowsOperator", signal),
      draw: list("No cleanup has run yet.", cleaned),
    }),
  ];
  return { destroy: () => parts.forEach((part) => part.destroy()) };
}

/** The latest instances of an operator, each with its result; the report of a failed cleanup has a key of its own. */
async function latest(operator, signal) {
  const { items } = await taskInstances([operator], {}, 100, signal);
  return Promise.all(items.slice(0, LATEST).map(async (instance) => {
    const key = { success: "return_value", failed: "report" }[instance.state];
    const result = key ? await xcom(instance, key, signal) : null;
    return { instance, result: result && typeof result === "object" ? result : null };
  }));
}

const list = (empty, draw) => (found, place) => {
  place.append(found.length
    ? el("ul", { class: "cards wide-cards" }, ...found.map(({ instance, result }) => el("li", { class: "card" },
      el("p", { class: "title" },
        el("a", { href: taskUrl(instance) }, `${instance.dag_id} › ${instance.task_id}`), " ",
        el("span", { class: `pill ${instance.state}` }, instance.state ?? "none"), " ",
        el("span", { class: "quiet" }, instance.start_date ? time(Date.parse(instance.start_date)) : "not started")),
      ...(result ? draw(result) : [nothing("It has left no result.")]))))
    : nothing(empty));
};

const tally = (label, value, kind = "") => el("span", { class: `tally ${kind}` },
  el("b", {}, value === null || value === undefined ? "–" : number(value)), ` ${label}`);

function exported(result) {
  return [
    el("p", { class: "tallies" }, tally("flows", result.count),
      ...["added", "removed", "changed"].map((kind) => tally(kind, result[kind], result[kind] ? kind : ""))),
    el("dl", { class: "facts" },
      fact("Export", copyable(result.uri)),
      fact("Manifest", copyable(result.manifest_uri)),
      ...(result.report_uri ? [fact("Report", copyable(result.report_uri))] : [])),
  ];
}

function cleaned(result) {
  const archives = [result.archive, ...(result.earlier_archives ?? [])].filter(Boolean);
  return [
    el("p", { class: "tallies" },
      result.dry_run ? el("span", { class: "pill" }, "dry run") : "",
      tally("selected", result.selected), tally("deleted", result.deleted, result.deleted ? "removed" : ""),
      tally("spared", result.spared), result.failed ? tally("failed", result.failed, "removed") : ""),
    result.guard ? el("p", { class: "caveat" }, `Guard: ${result.guard}`) : "",
    ...archives.map((archive) => el("details", {}, el("summary", {}, "Archive, and how to restore it"),
      el("dl", { class: "facts" }, fact("Archive", copyable(archive))),
      el("p", { class: "quiet" }, "Restore in a DAG; flows that exist are left alone:"),
      copyable(`RestoreFlowsOperator(task_id="restore", archive=${JSON.stringify(archive)}, if_exists="skip")`))),
    ...outcomes(result),
  ];
}

function outcomes({ outcomes: listed = [], outcomes_omitted: omitted = 0, dry_run: dryRun }) {
  if (!listed.length) return [];
  const items = listed.map((flow) => el("li", {}, el("bdi", {}, flow.name || "(no name)"), " ",
    el("code", { class: "id" }, flow.flow_id), " ", el("span", { class: "quiet" }, `${flow.outcome}: ${flow.reason}`)));
  const title = `${number(listed.length + omitted)} flows ${dryRun ? "that it would delete" : "with their outcome"}`;
  return [el("details", {}, el("summary", {}, title), el("ul", { class: "outcomes" }, ...items))];
}

function copyable(text) {
  if (!text) return el("span", { class: "quiet" }, "none");
  const button = el("button", { type: "button", class: "button small copy", "aria-label": `Copy ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return el("span", { class: "copyable" }, el("code", {}, text), " ", button);
}
