// The view "Cleanup preview": what a policy would delete, decided by the planner of PruneFlowsOperator, and never more
// than a preview. A cleanup belongs to a DAG, with its log, archive and approval.

import { count, el, number, time } from "./dom.js";
import { pageUrl, taskInstances, vi } from "./airflow.js";
import { nothing, problem, section, showProgress } from "./section.js";

/** The arguments of the operator: name, label, kind, hint. A list has one item per line, a mapping one `key=value`. */
const FIELDS = [
  ["older_than", "Older than", "text", "P90D"],
  ["age_of", "Age counts from", ["last_updated", "time_created"]],
  ["keep_last", "Keep the last … per project", "text", "5"],
  ["name_pattern", "Only names like", "text", "Weld*"],
  ["training_project", "Only this training project", "text", ""],
  ["attributes", "Only with all of these attributes", "mapping", "owner=giulia"],
  ["protect_names", "Protect names like", "list", "prod-*"],
  ["protect_ids", "Protect ids", "list", ""],
  ["protect_attributes", "Protect any of these attributes", "mapping", "keep=true"],
  ["max_delete", "Guard: at most … flows", "text", "50"],
  ["max_delete_fraction", "Guard: at most this fraction", "text", "0.5"],
  ["protect_unmatched", "A rule that matches no flow", ["warn", "fail"]],
];
const NAMES = FIELDS.map(([name]) => name);
const EXAMPLE = { older_than: "P90D" };
const SHOWN = 200;

export function cleanupView(root, { connection, parameters, write }) {
  const ending = new AbortController();
  let running = new AbortController();
  const form = el("form", { class: "policy" });
  const status = el("div", { role: "status", class: "notice" });
  const result = el("div", { class: "place" });
  const source = el("div", { class: "source" });

  function fill(policy) {
    form.replaceChildren(
      el("div", { class: "fields" }, ...FIELDS.map((field) => control(field, policy))),
      el("p", { class: "actions" }, el("button", { class: "button primary", type: "submit" }, "Preview"),
        el("span", { class: "quiet" }, "Nothing is deleted here.")));
  }

  async function preview() {
    const policy = policyOf(form);
    write({ policy: JSON.stringify(policy) });
    running.abort();
    const { signal } = running = new AbortController();
    result.replaceChildren();
    status.replaceChildren();
    const stop = showProgress(status, { busy: "flows and planning", signal });
    try {
      const parts = ["connections", connection, "plan"];
      const plan = await vi(parts, { policy: JSON.stringify(policy) }, signal);
      stop();
      result.replaceChildren(...planned(plan));
    } catch (error) {
      stop();
      if (signal.aborted) return;
      const refused = `A preview is for those who may read the connection ${connection} in Airflow. You may not.`;
      status.replaceChildren(problem(error, { refused, retry: preview }));
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    preview();
  });
  const given = parsed(parameters.get("policy"));
  fill(given ?? EXAMPLE);
  root.append(el("section", { "aria-label": "Policy" },
    el("div", { class: "heading" }, el("h2", {}, "Policy"),
      el("p", { class: "quiet" }, "The arguments of PruneFlowsOperator, and what it would do with them now.")),
    source, form, status, result));
  const tasks = section(source, {
    title: "From a DAG",
    note: "Take the policy of the last run of a cleanup.",
    busy: "the last cleanups",
    refused: "You may not read task instances in Airflow; the policy can be typed in.",
    load: ({ signal }) => lastCleanups(signal),
    draw: (cleanups, place) => place.append(...offered(cleanups, (policy) => {
      fill(policy);
      preview();
    })),
  });
  if (given) preview();
  return {
    destroy() {
      ending.abort();
      running.abort();
      tasks.destroy();
    },
  };
}

// --- the policy -------------------------------------------------------------------------------------------------------

function control([name, label, kind, hint], policy) {
  const id = `policy-${name}`;
  const value = policy[name];
  let input;
  if (Array.isArray(kind)) {
    input = el("select", { id, name }, ...kind.map((each) => el("option", { value: each }, each)));
    input.value = kind.includes(value) ? value : kind[0];
  } else if (kind === "text") {
    input = el("input", { id, name, placeholder: hint, autocomplete: "off", spellcheck: "false" });
    input.value = value ?? "";
  } else {
    input = el("textarea", { id, name, rows: 2, placeholder: hint, spellcheck: "false", "data-kind": kind });
    input.value = lines(value).join("\n");
  }
  return el("div", { class: "field" }, el("label", { for: id }, label), input);
}

const lines = (value) => {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map(String);
  if (typeof value === "object") return Object.entries(value).map(([key, each]) => `${key}=${each}`);
  return [String(value)];
};

/** What is filled in; an empty field is left out, so that the operator's default holds. */
function policyOf(form) {
  const policy = {};
  for (const input of form.querySelectorAll("input, select, textarea")) {
    const text = input.value.trim();
    if (!text) continue;
    const items = text.split("\n").map((line) => line.trim()).filter(Boolean);
    if (input.dataset.kind === "list") policy[input.name] = items;
    else if (input.dataset.kind === "mapping") policy[input.name] = Object.fromEntries(items.map(pair));
    else policy[input.name] = text;
  }
  return policy;
}

function pair(line) {
  const at = line.indexOf("=");
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
}

function parsed(text) {
  try {
    const value = JSON.parse(text ?? "null");
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

// --- the policy of a DAG ----------------------------------------------------------------------------------------------

/** The last instance of each cleanup task, with the fields that Airflow has rendered. */
async function lastCleanups(signal) {
  const { items } = await taskInstances(["PruneFlowsOperator"], {}, 500, signal);
  const last = new Map();
  for (const each of items) {
    const key = `${each.dag_id}\n${each.task_id}`;
    if (!last.has(key) && Object.keys(each.rendered_fields ?? {}).length) last.set(key, each);
  }
  return [...last.values()];
}

function offered(cleanups, take) {
  if (!cleanups.length) return [nothing("No DAG with a PruneFlowsOperator has run yet.")];
  return [el("ul", { class: "cards" }, ...cleanups.map((each) => {
    const fields = each.rendered_fields;
    const hindrance = hindranceOf(fields);
    const use = el("button", { type: "button", class: "button small" }, "Preview its policy");
    use.addEventListener("click", () => take(policyFrom(fields)));
    return el("li", { class: "card" },
      el("a", { href: pageUrl("dags", each.dag_id) }, each.dag_id), " › ", el("span", {}, each.task_id),
      el("p", { class: "quiet" }, "last run ", time(Date.parse(each.start_date)), " UTC, connection ",
        String(fields.vi_conn_id ?? "")),
      hindrance ? el("p", { class: "quiet" }, hindrance) : use,
      el("a", { class: "button small", href: pageUrl("dags", each.dag_id) }, "Open the DAG to trigger it"));
  }))];
}

/** Why the rendered fields of a task cannot be previewed. */
function hindranceOf(fields) {
  if (fields.plan) return "It deletes a given plan, not by a policy.";
  const texts = NAMES.map((name) => JSON.stringify(fields[name] ?? null));
  if (texts.some((text) => text.includes("Truncated. You can change this behaviour"))) {
    return "Airflow stored its policy only in part, because it is long ([core] max_templated_field_length).";
  }
  return texts.some((text) => text.includes("***")) ? "Airflow masked a part of its policy." : "";
}

const policyFrom = (fields) => Object.fromEntries(NAMES
  .filter((name) => fields[name] !== null && fields[name] !== undefined && fields[name] !== "None")
  .map((name) => [name, structured(fields[name])]));

/** A list or mapping that Airflow shows as text, as what it is. */
function structured(value) {
  if (typeof value !== "string" || !/^[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

// --- the plan ---------------------------------------------------------------------------------------------------------

function planned(plan) {
  const kept = plan.total - plan.selected;
  return [
    el("h3", { tabindex: "-1" },
      `${count(plan.selected, "flow")} of ${number(plan.total)} would be deleted, ${number(kept)} would stay`),
    plan.guard
      ? el("p", { class: "problem error", role: "alert" }, `A guard would refuse this cleanup: ${plan.guard}`)
      : el("p", { class: "allowed" }, "No guard would refuse this cleanup."),
    ...plan.unmatched.map((rule) => el("p", { class: "caveat" }, "No flow matches ", el("code", {}, rule),
      ". If the rule is to protect flows, check its spelling.")),
    el("dl", { class: "reasons" },
      ...plan.kept_by_reason.map(({ reason, count: flows }) => reasonRow(reason, flows, plan.total)),
      plan.out_of_scope ? reasonRow("out of scope", plan.out_of_scope, plan.total) : ""),
    flowList("Would be deleted", "selected", plan.outcomes, plan.outcomes_omitted,
      (flow) => [el("td", {}, flow.reason), el("td", { class: "number" }, time(flow.last_updated))]),
    flowList("Would stay, although old enough", "spared", plan.spared_flows, plan.spared_omitted,
      (flow) => [el("td", {}, flow.reason)]),
  ];
}

const reasonRow = (reason, flows, total) => el("div", {},
  el("dt", {}, `stays: ${reason}`),
  el("dd", {}, el("meter", { min: 0, max: Math.max(total, 1), value: flows, "aria-hidden": "true" }), number(flows)));

function flowList(title, kind, flows, omitted, cells) {
  if (!flows.length) return el("div", {}, el("h4", {}, title), nothing("None."));
  const headers = kind === "selected" ? ["Flow", "Rule", "Updated (UTC)"] : ["Flow", "Rule"];
  const rest = flows.length - SHOWN;
  const body = el("tbody");
  const add = (some) => body.append(...some.map((flow) => el("tr", {},
    el("td", {}, el("bdi", {}, flow.name || "(no name)"), el("code", { class: "id block" }, flow.flow_id)),
    ...cells(flow))));
  add(flows.slice(0, SHOWN));
  const more = el("button", { type: "button" }, `Show ${number(rest)} more`);
  more.addEventListener("click", () => {
    add(flows.slice(SHOWN));
    more.remove();
  });
  return el("div", {},
    el("h4", {}, title, " ", el("span", { class: "count" }, number(flows.length + omitted))),
    el("table", { class: kind }, el("thead", {}, el("tr", {}, ...headers.map((text) => el("th", { scope: "col" }, text)))),
      body),
    rest > 0 ? el("p", { class: "more" }, more) : "",
    omitted ? el("p", { class: "quiet" }, `${number(omitted)} more are not listed.`) : "");
}
