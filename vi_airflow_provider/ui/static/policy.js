// The form of a policy: the arguments of PruneFlowsOperator and PruneRunsOperator, from and to what a person types.

import { el } from "./dom.js";

/** The arguments of both operators: name, label, kind, hint. A list has one item per line, a mapping one `key=value`. */
const AGE = [
  ["older_than", "Older than", "text", "P90D"],
  ["age_of", "Age counts from", ["last_updated", "time_created"]],
];
const RULES = [
  ["name_pattern", "Only names like", "text", "Weld*"],
  ["training_project", "Only this training project", "text", ""],
  ["attributes", "Only with all of these attributes", "mapping", "owner=giulia"],
  ["protect_names", "Protect names like", "list", "prod-*"],
  ["protect_ids", "Protect ids", "list", ""],
  ["protect_attributes", "Protect any of these attributes", "mapping", "keep=true"],
];
const GUARDS = [
  ["max_delete", "Guard: at most this many", "text", "50"],
  ["max_delete_fraction", "Guard: at most this fraction", "text", "0.5"],
  ["protect_unmatched", "A rule that matches nothing", ["warn", "fail"]],
];
const FIELDS = {
  flows: [...AGE, ["keep_last", "Keep the last … per project", "text", "5"], ...RULES, ...GUARDS],
  runs: [
    ...AGE,
    ["states", "Only in these states", "list", "failed\nkilled"],
    ["keep_last", "Keep the last … per flow", "text", "5"],
    ["keep_succeeded", "Keep the last … succeeded runs per flow", "text", "3"],
    ["keep_best", "Keep the best … per flow", "text", "1"],
    ["best_metric", "The best by this metric, and max or min", "words", "f1 max"],
    ...RULES,
    ...GUARDS,
  ],
};

/** The names of the arguments. */
export const namesOf = (subjects) => FIELDS[subjects].map(([name]) => name);

/** The controls, filled with a policy. */
export const fields = (subjects, policy) =>
  el("div", { class: "fields" }, ...FIELDS[subjects].map((field) => control(field, policy)));

function control([name, label, kind, hint], policy) {
  const id = `policy-${name}`;
  const value = policy[name];
  let input;
  if (Array.isArray(kind)) {
    input = el("select", { id, name }, ...kind.map((each) => el("option", { value: each }, each)));
    input.value = kind.includes(value) ? value : kind[0];
  } else if (kind === "text" || kind === "words") {
    input = el("input", { id, name, placeholder: hint, autocomplete: "off", spellcheck: "false", "data-kind": kind });
    input.value = Array.isArray(value) ? value.join(" ") : value ?? "";
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
export function policyOf(form) {
  const policy = {};
  for (const input of form.querySelectorAll("input, select, textarea")) {
    const text = input.value.trim();
    if (!text) continue;
    const items = text.split("\n").map((line) => line.trim()).filter(Boolean);
    if (input.dataset.kind === "list") policy[input.name] = items;
    else if (input.dataset.kind === "mapping") policy[input.name] = Object.fromEntries(items.map(pair));
    // The name of a metric may have spaces; its goal is the last word.
    else if (input.dataset.kind === "words") policy[input.name] = text.split(/\s+(?=\S+$)/);
    else policy[input.name] = text;
  }
  return policy;
}

function pair(line) {
  const at = line.indexOf("=");
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
}

/** A policy in an address; null without one. */
export function parsed(text) {
  try {
    const value = JSON.parse(text ?? "null");
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
