// The view "Cleanup preview": what a policy would delete, decided by the planner of the operators, and never more than a
// preview. A cleanup belongs to a DAG, with its log, archive and approval.

import { clamped, count, el, number, time } from "./dom.js";
import { pageUrl, taskInstances, vi } from "./airflow.js";
import { fields, namesOf, parsed, policyOf } from "./policy.js";
import { chips, nothing, problem, section, showProgress } from "./section.js";

const OPERATORS = { flows: "PruneFlowsOperator", runs: "PruneRunsOperator" };
const EXAMPLES = { flows: { older_than: "P90D" }, runs: { older_than: "P30D", states: ["failed", "killed"] } };
const MOST_TASKS = 500;
const SHOWN = 200;

/** The address of a policy. */
const addressOf = (of, policy) => ({ of: of === "flows" ? "" : of, policy });

export function cleanupView(root, { connection, parameters, write, show }) {
  let running = new AbortController();
  let subjects = parameters.get("of") === "runs" ? "runs" : "flows";
  const form = el("form", { class: "policy" });
  const status = el("div", { role: "status", class: "notice" });
  const verdict = el("p", { role: "status", class: "aloud" });
  const result = el("div", { class: "place" });
  const source = el("div", { class: "source" });
  const what = el("p", { class: "quiet" });
  const choice = chips("What is cleaned up", [["flows", "Flows"], ["runs", "Runs"]], () => subjects, (chosen) => {
    clear();
    fill(chosen, EXAMPLES[chosen]);
    write(addressOf(chosen, ""));
  });

  function clear() {
    running.abort();
    result.replaceChildren();
    status.replaceChildren();
    verdict.textContent = "";
  }

  function fill(chosen, policy) {
    subjects = chosen;
    choice.update();
    what.textContent = `The arguments of ${OPERATORS[subjects]}, and what it would do with them.`;
    form.replaceChildren(
      fields(subjects, policy),
      el("p", { class: "actions" }, el("button", { class: "button primary", type: "submit" }, "Preview"),
        el("span", { class: "quiet" }, "Nothing is deleted here.")));
  }

  async function preview() {
    const policy = JSON.stringify(policyOf(form));
    write(addressOf(subjects, policy));
    clear();
    const { signal } = running = new AbortController();
    const stop = showProgress(status, { busy: `${subjects} and planning`, patience: true, signal });
    try {
      const plan = await vi(["connections", connection, "plan"], { of: subjects, policy }, signal);
      stop();
      result.replaceChildren(...planned(plan));
      verdict.textContent = verdictOf(plan);
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
  fill(subjects, given ?? EXAMPLES[subjects]);
  root.append(el("section", { "aria-label": "Policy" },
    el("div", { class: "heading" }, el("h2", {}, "Policy"), what), choice.element,
    source, form, verdict, status, result));
  const tasks = section(source, {
    title: "From a DAG",
    note: "Take the policy of the last run of a cleanup.",
    busy: "the last cleanups",
    refused: "You may not read task instances in Airflow; the policy can be typed in.",
    load: ({ signal }) => lastCleanups(signal),
    draw: (cleanups, place) => place.append(...offered(cleanups, connection, (of, policy, its) => {
      if (its !== connection) {
        show({ connection: its, also: addressOf(of, JSON.stringify(policy)) });
        return;
      }
      fill(of, policy);
      preview();
    })),
  });
  if (given) preview();
  return {
    destroy() {
      running.abort();
      tasks.destroy();
    },
  };
}

// --- the policy of a DAG ----------------------------------------------------------------------------------------------

/** The last instance of each cleanup task, with the fields that Airflow has rendered. */
async function lastCleanups(signal) {
  const { items, complete } = await taskInstances(Object.values(OPERATORS), {}, MOST_TASKS, signal);
  const last = new Map();
  for (const each of items) {
    const key = `${each.dag_id}\n${each.task_id}\n${each.map_index}`;
    if (!last.has(key) && Object.keys(each.rendered_fields ?? {}).length) last.set(key, each);
  }
  return { tasks: [...last.values()], complete };
}

function offered({ tasks, complete }, connection, take) {
  if (!tasks.length) {
    return [nothing(complete
      ? `No DAG with a ${Object.values(OPERATORS).join(" or a ")} has run yet.`
      : `No cleanup is among the latest ${number(MOST_TASKS)} tasks of Airflow; the policy can be typed in.`)];
  }
  return [el("ul", { class: "cards" }, ...tasks.map((each) => {
    const fields = each.rendered_fields;
    const subjects = each.operator === OPERATORS.runs ? "runs" : "flows";
    const its = String(fields.vi_conn_id || connection);
    const hindrance = hindranceOf(subjects, fields);
    const use = el("button", { type: "button", class: "button small" },
      its === connection ? "Preview its policy" : `Preview its policy with ${its}`);
    use.addEventListener("click", () => take(subjects, policyFrom(subjects, fields), its));
    return el("li", { class: "card" },
      el("a", { href: pageUrl("dags", each.dag_id) }, each.dag_id), " › ",
      el("span", {}, each.task_id, each.map_index >= 0 ? ` [${each.map_index}]` : ""),
      el("p", { class: "quiet" }, `${subjects}, last run `, time(Date.parse(each.start_date)), ` UTC, connection ${its}`),
      hindrance ? el("p", { class: "quiet" }, hindrance) : use,
      el("a", { class: "button small", href: pageUrl("dags", each.dag_id) }, "Open the DAG to trigger it"));
  }))];
}

/** Why the rendered fields of a task cannot be previewed. */
function hindranceOf(subjects, fields) {
  if (fields.plan) return "It deletes a given plan, not by a policy.";
  const texts = namesOf(subjects).map((name) => JSON.stringify(fields[name] ?? null));
  if (texts.some((text) => text.includes("Truncated. You can change this behaviour"))) {
    return "Airflow stored its policy only in part, because it is long ([core] max_templated_field_length).";
  }
  return texts.some((text) => text.includes("***")) ? "Airflow masked a part of its policy." : "";
}

const policyFrom = (subjects, fields) => Object.fromEntries(namesOf(subjects)
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

const verdictOf = ({ selected, total, noun }) =>
  `${count(selected, noun)} of ${number(total)} would be deleted, ${number(total - selected)} would stay`;

function planned(plan) {
  return [
    el("h3", {}, verdictOf(plan)),
    plan.guard
      ? el("p", { class: "problem error", role: "alert" }, `A guard would refuse this cleanup: ${plan.guard}`)
      : el("p", { class: "allowed" }, "No guard would refuse this cleanup."),
    ...plan.unmatched.map((rule) => el("p", { class: "caveat" }, `No ${plan.noun} matches `, el("code", {}, rule),
      ". If the rule is to protect something, check its spelling.")),
    el("dl", { class: "reasons" },
      ...plan.kept_by_reason.map(({ reason, count: kept }) => reasonRow(reason, kept, plan.total)),
      plan.out_of_scope ? reasonRow("out of scope", plan.out_of_scope, plan.total) : ""),
    list("Would be deleted", "selected", plan.noun, plan.outcomes, plan.outcomes_omitted,
      (each) => [el("td", {}, each.reason), el("td", { class: "number" }, time(each.last_updated))]),
    list("Would stay", "spared", plan.noun, plan[`spared_${plan.noun}s`], plan.spared_omitted,
      (each) => [el("td", {}, each.reason)]),
    plan.young ? el("p", { class: "quiet" }, `Not old enough, and not listed: ${count(plan.young, plan.noun)}.`) : "",
  ];
}

const reasonRow = (reason, kept, total) => el("div", {},
  el("dt", {}, `stays: ${reason}`),
  el("dd", {}, el("meter", { min: 0, max: Math.max(total, 1), value: kept, "aria-hidden": "true" }), number(kept)));

function list(title, kind, noun, items, omitted, cells) {
  if (!items.length) return el("div", {}, el("h4", {}, title), nothing("None."));
  const first = noun === "run" ? "Run of flow" : "Flow";
  const headers = kind === "selected" ? [first, "Rule", "Updated (UTC)"] : [first, "Rule"];
  const rest = items.length - SHOWN;
  const body = el("tbody");
  const add = (some) => body.append(...some.map((each) => el("tr", {},
    el("td", {}, clamped(each.name || "(no name)"),
      el("code", { class: "id block" }, each[`${noun}_id`])),
    ...cells(each))));
  add(items.slice(0, SHOWN));
  const more = el("button", { type: "button" }, `Show ${number(rest)} more`);
  more.addEventListener("click", () => {
    add(items.slice(SHOWN));
    more.remove();
  });
  return el("div", {},
    el("h4", {}, title, " ", el("span", { class: "count" }, number(items.length + omitted))),
    el("table", { class: kind }, el("thead", {}, el("tr", {}, ...headers.map((text) => el("th", { scope: "col" }, text)))),
      body),
    rest > 0 ? el("p", { class: "more" }, more) : "",
    omitted ? el("p", { class: "quiet" }, `${number(omitted)} more are not listed.`) : "");
}
